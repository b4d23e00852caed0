"""Limits: the certainties from which a classifier's first model is trusted, as `classer certify` has proven them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DAMAGED = "`limits` of the classifier is damaged (certify the classifier again)"


@dataclass(frozen=True)
class Limits:
    """The certainty of each predicted label from which the first model of a cascade answers, and the proof.

    Attributes:
        model: id of the first model.
        from_certainty: (label, lowest certainty that is trusted, 0-1), sorted; of other labels no answer is trusted.
        precision: share of right answers (0-1) among those that are trusted, at least.
        confidence: probability (0-1) that the sample has led to such limits.
        oracle: whose answers count as right: `gold`, or the id of a model.
        rows: rows whose right answer was asked for.
        proven_on: those of them that the proof rests on; the others were used to choose what to prove.
        answered: share of the rows (0-1) for which the first model is trusted, estimated on the job's texts.
    """

    model: str
    from_certainty: tuple[tuple[str, float], ...]
    precision: float
    confidence: float
    oracle: str
    rows: int
    proven_on: int
    answered: float

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Limits:
        """Return the limits that `to_mapping` has stored.

        Raises:
            ValueError: a field is missing or malformed.
        """
        try:
            by_label = sorted((str(label), float(limit)) for label, limit in value["from_certainty"].items())
            limits = cls(
                model=str(value["model"]),
                from_certainty=tuple(by_label),
                precision=float(value["precision"]),
                confidence=float(value["confidence"]),
                oracle=str(value["oracle"]),
                rows=int(value["rows"]),
                proven_on=int(value["proven_on"]),
                answered=float(value["answered"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{_DAMAGED}: {type(error).__name__}: {error}") from error
        if not all(math.isfinite(limit) for _, limit in by_label):
            raise ValueError(f"{_DAMAGED}: contains NaN or infinite values")
        return limits

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields as plain values for YAML or JSON."""
        return {
            "model": self.model,
            "from_certainty": dict(self.from_certainty),
            "precision": self.precision,
            "confidence": self.confidence,
            "oracle": self.oracle,
            "rows": self.rows,
            "proven_on": self.proven_on,
            "answered": self.answered,
        }

    def trusts(self, label: str, certainty: float) -> bool:
        """Return whether an answer of the first model is trusted.

        >>> limits = Limits("m", (("spam", 0.8),), 0.95, 0.95, "gold", 400, 260, 0.5)
        >>> limits.trusts("spam", 0.9), limits.trusts("spam", 0.7), limits.trusts("ham", 0.9)
        (True, False, False)
        """
        return any(certainty >= limit for own, limit in self.from_certainty if own == label)
