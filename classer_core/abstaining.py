"""Abstaining: an answer that is not sure enough becomes no answer, or a fallback."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from classer_core.classifiers import MAX_LABEL_CHARS, is_clean, shown
from classer_core.errors import FailureCode, RecordError
from classer_core.records import Outcome, Result


@dataclass(frozen=True)
class Abstention:
    """When to abstain, and what to say then. Applied last, so that stored answers serve every rule.

    `min_confidence` 0 never abstains.
    """

    min_confidence: float = 0.0
    fallback_label: str | None = None

    @classmethod
    def of(cls, min_confidence: Any = None, fallback_label: Any = None) -> Abstention:
        """Checked values in, rule out.

        Raises:
            RecordError: not a number from 0 to 1; not a label; a fallback without a `min_confidence`.
        """
        number = isinstance(min_confidence, int | float) and not isinstance(min_confidence, bool)
        if min_confidence is not None and not (number and 0 <= min_confidence <= 1):
            message = f"min_confidence is a number from 0 to 1, got {shown(min_confidence)}"
            raise RecordError(FailureCode.MIN_CONFIDENCE_INVALID, message, "min_confidence")
        if fallback_label is not None:
            _check_fallback(fallback_label, min_confidence)
        return cls(float(min_confidence or 0), fallback_label)

    def apply(self, answer: Result) -> Result:
        """The answer itself if it is sure enough, else one that abstains, with the confidence that was too low.

        Mode multi: the confidence is that of the best label. No label above the threshold is an answer ("none of
        them"), and stays.
        """
        if answer.confidence is None or answer.confidence >= self.min_confidence:
            return answer
        if answer.labels is not None:
            return dataclasses.replace(answer, labels=[], abstained=True)
        return dataclasses.replace(answer, label=self.fallback_label, abstained=True)

    def apply_all(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Every answer among the outcomes, judged; failures as they are."""
        return [self.apply(outcome) if isinstance(outcome, Result) else outcome for outcome in outcomes]


def _check_fallback(label: Any, min_confidence: Any) -> None:
    code, field = FailureCode.FALLBACK_LABEL_INVALID, "fallback_label"
    clean = isinstance(label, str) and label.strip() and is_clean(label) and len(label) <= MAX_LABEL_CHARS
    if not clean:
        message = f"fallback_label is a string of 1-{MAX_LABEL_CHARS} characters, got {shown(label)}"
        raise RecordError(code, message, field)
    if min_confidence is None:
        raise RecordError(code, f"fallback_label {shown(label)} is never used without a min_confidence", field)
