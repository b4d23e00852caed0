"""Abstention: replace an answer whose confidence is too low by no label, or by a fallback label."""

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
    """The lowest confidence that is accepted, and the label of results below it.

    Applied after the cache, so that one cached answer serves every rule.

    Attributes:
        min_confidence: 0-1; 0 accepts every answer.
        fallback_label: the label of results that abstain; None for no label.
    """

    min_confidence: float = 0.0
    fallback_label: str | None = None

    @classmethod
    def of(cls, min_confidence: Any = None, fallback_label: Any = None) -> Abstention:
        """Return the rule for the `min_confidence` and `fallback_label` of a job or a request, after checking them.

        Raises:
            RecordError: `min_confidence` is not a number from 0 to 1, `fallback_label` is not a label, or there is a
                fallback label without `min_confidence`.
        """
        is_number = isinstance(min_confidence, int | float) and not isinstance(min_confidence, bool)
        if min_confidence is not None and not (is_number and 0 <= min_confidence <= 1):
            message = f"min_confidence must be a number from 0 to 1, got {shown(min_confidence)}"
            raise RecordError(FailureCode.MIN_CONFIDENCE_INVALID, message, "min_confidence")
        if fallback_label is not None:
            _check_fallback(fallback_label, min_confidence)
        return cls(float(min_confidence or 0), fallback_label)

    def apply(self, answer: Result) -> Result:
        """Return the answer if its confidence is high enough, else a copy that abstains and keeps the confidence.

        In mode multi the confidence of the best label counts. An answer without any label above the threshold
        ("none of them") has no confidence and is returned as it is.

        >>> import dataclasses
        >>> from classer_core.records import Result
        >>> answer = Result("1", "spam", None, 0.4, 9, None, 1.0, False, "inline:1", "embedded", 1.0, "00")
        >>> abstained = Abstention(min_confidence=0.5, fallback_label="other").apply(answer)
        >>> abstained.label, abstained.abstained, abstained.confidence
        ('other', True, 0.4)
        """
        if answer.confidence is None or answer.confidence >= self.min_confidence:
            return answer
        if answer.labels is not None:
            return dataclasses.replace(answer, labels=[], abstained=True)
        return dataclasses.replace(answer, label=self.fallback_label, abstained=True)

    def apply_all(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Return the outcomes with `apply` applied to every result; failures stay as they are."""
        return [self.apply(outcome) if isinstance(outcome, Result) else outcome for outcome in outcomes]


def _check_fallback(label: Any, min_confidence: Any) -> None:
    code, field = FailureCode.FALLBACK_LABEL_INVALID, "fallback_label"
    is_label = isinstance(label, str) and label.strip() and is_clean(label) and len(label) <= MAX_LABEL_CHARS
    if not is_label:
        message = f"fallback_label must be a string of 1-{MAX_LABEL_CHARS} characters, got {shown(label)}"
        raise RecordError(code, message, field)
    if min_confidence is None:
        message = f"fallback_label {shown(label)} has no effect without min_confidence: set min_confidence, too"
        raise RecordError(code, message, field)
