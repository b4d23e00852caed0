"""Limits: how much of a run may fail before its rows stay unpublished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Tally(NamedTuple):
    """Records of a run, failures among them, and the names of files that can't be read."""

    records: int = 0
    failed: int = 0
    unreadable: frozenset[str] = frozenset()


class Verdict(NamedTuple):
    """Whether a run may publish."""

    publishes: bool


@dataclass(frozen=True)
class Limits:
    """How much of a run may fail.

    Args:
        failure_ratio: the share of records that may fail.
        unreadable_files: how many files of the source may be unreadable.
        publish_anyway: whether rows are published although more records have failed.
    """

    failure_ratio: float = 1.0
    unreadable_files: int = 0
    publish_anyway: bool = False

    def too_many_failures(self, failed: int, records: int) -> bool:
        """Return whether more records have failed than may."""
        return failed > self.failure_ratio * max(records, 1)

    def judge(self, tally: Tally) -> Verdict:
        """Return the verdict on a run."""
        too_many = self.too_many_failures(tally.failed, tally.records) and not self.publish_anyway
        return Verdict(not too_many and len(tally.unreadable) <= self.unreadable_files)


PUBLISHES = Verdict(True)
