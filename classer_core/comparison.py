"""Compare two classifiers on the same records: agreement, confusion, and the records whose answer changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from classer_core.cached import CachedEngine
from classer_core.classifiers import Classifier
from classer_core.records import Failure, Record, Result

RECORDS_TOGETHER = 1_024
NO_LABEL = "(none)"


@dataclass(frozen=True)
class Change:
    """A record that the two classifiers answer differently."""

    record: Record
    first: Result
    second: Result


@dataclass(frozen=True)
class Comparison:
    """The outcome of a comparison.

    Attributes:
        confusion: counts of (answer of the first classifier, answer of the second).
        changed: records with different answers.
        failed: records that either classifier failed on; they are not in `confusion`.
    """

    confusion: Counter[tuple[str, str]]
    changed: list[Change]
    failed: list[Failure]

    @property
    def compared(self) -> int:
        """Return the number of records that both classifiers answered."""
        return self.confusion.total()

    @property
    def agreement(self) -> float:
        """Return the share of compared records with the same answer, 0-1; 1 if none were compared."""
        return 1 - len(self.changed) / self.compared if self.compared else 1.0


def compare(engine: CachedEngine, records: Sequence[Record], first: Classifier, second: Classifier) -> Comparison:
    """Return how the answers of two classifiers to the same records differ.

    Args:
        engine: classifies the records.
        records: with the bytes of their attachments; their own classifiers are ignored.
        first: the classifier compared with.
        second: the classifier compared.
    """
    confusion: Counter[tuple[str, str]] = Counter()
    changed: list[Change] = []
    failed: list[Failure] = []
    for start in range(0, len(records), RECORDS_TOGETHER):
        part = records[start : start + RECORDS_TOGETHER]
        before = engine.classify([replace(record, classifier=first) for record in part])
        after = engine.classify([replace(record, classifier=second) for record in part])
        for record, old, new in zip(part, before, after, strict=True):
            if isinstance(old, Failure):
                failed.append(old)
            elif isinstance(new, Failure):
                failed.append(new)
            else:
                confusion[answer_of(old), answer_of(new)] += 1
                if answer_of(old) != answer_of(new):
                    changed.append(Change(record, old, new))
    return Comparison(confusion, changed, failed)


def answer_of(result: Result) -> str:
    """Return the label of a result, or its labels in alphabetical order, as one string; "(none)" without a label."""
    labels = [result.label] if result.labels is None else sorted(item.label for item in result.labels)
    return ", ".join(label for label in labels if label is not None) or NO_LABEL
