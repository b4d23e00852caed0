"""Two classifiers on the same records: how often they agree, what they take for what, and which answers change."""

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
    """What came out. `confusion` counts (first answer, second answer); records that failed have neither."""

    confusion: Counter[tuple[str, str]]
    changed: list[Change]
    failed: list[Failure]

    @property
    def compared(self) -> int:
        """Records that both have answered."""
        return self.confusion.total()

    @property
    def agreement(self) -> float:
        """The share of them with the same answer, 0-1."""
        return 1 - len(self.changed) / self.compared if self.compared else 1.0


def compare(engine: CachedEngine, records: Sequence[Record], first: Classifier, second: Classifier) -> Comparison:
    """Records, with the bytes of their attachments, and two classifiers in; their own classifiers are ignored."""
    confusion: Counter[tuple[str, str]] = Counter()
    changed: list[Change] = []
    failed: list[Failure] = []
    for start in range(0, len(records), RECORDS_TOGETHER):
        part = records[start : start + RECORDS_TOGETHER]
        answers = [engine.classify([replace(record, classifier=one) for record in part]) for one in (first, second)]
        for record, one, other in zip(part, *answers, strict=True):
            if isinstance(one, Failure) or isinstance(other, Failure):
                failed.append(one if isinstance(one, Failure) else other)
                continue
            confusion[answer_of(one), answer_of(other)] += 1
            if answer_of(one) != answer_of(other):
                changed.append(Change(record, one, other))
    return Comparison(confusion, changed, failed)


def answer_of(result: Result) -> str:
    """The label, or the labels in order, of a result."""
    labels = [result.label] if result.labels is None else sorted(item.label for item in result.labels)
    return ", ".join(label for label in labels if label is not None) or NO_LABEL
