"""Shares of labels in what a job has written, with intervals that some rows with right labels make honest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from classer_core.classifiers import shown
from classer_core.errors import JobError, Problem
from classer_core.fetching.rules import without_secrets
from classer_core.records import RESULT_SCHEMA
from classer_core.reports.shares import Floats, Share, estimate_shares
from pipelines.gold import Gold, read_gold
from pipelines.job.model import Job
from runners.reporting import rows_of

READ_SCHEMA = pa.schema(
    [RESULT_SCHEMA.field(name).with_nullable(True) for name in ("id", "label", "labels", "confidence")]
)
FEWEST_GOLD = 20


@dataclass(frozen=True)
class Shares:
    """The shares of all labels.

    Attributes:
        rows: of the output.
        gold: rows of the output whose right labels are known.
        shares: of each label, the largest one first.
    """

    rows: int
    gold: int
    shares: list[Share]


def shares_of(
    job: Job, folder: str, gold_path: str, gold_column: str = "label", weight_column: str | None = None
) -> Shares:
    """Return the share of each label in the rows that a job has written.

    Args:
        job: the job; its output is read, nothing is classified.
        folder: names of files in ids are relative to it.
        gold_path: rows with their right labels, drawn by chance from the output, found by their ids.
        gold_column: of the right labels.
        weight_column: of the gold file: one over the probability with which a row was drawn; None if all are equal.

    Raises:
        JobError: the gold file or the output can't be read, or too few rows are in both.
    """
    spelled = job.spelled_out()
    gold = read_gold(spelled, gold_path, gold_column, folder, weight_column)
    tally = _Tally(spelled.labels or sorted({label for labels in gold.labels.values() for label in labels}), gold)
    for batch in rows_of(job.output, READ_SCHEMA):
        tally.add(batch.to_pylist())
    place = shown(without_secrets(job.output.place), 200)
    if not tally.rows:
        raise JobError([Problem("output", place, "has no rows that can be read back", "Run the job first.")])
    if len(tally.right) < FEWEST_GOLD:
        message = f"{len(tally.right)} of {len(gold.labels):,} gold rows are in {place}, and {FEWEST_GOLD} are needed"
        raise JobError([Problem("--gold", shown(gold_path, 200), message, "Give rows with ids of the output.")])
    return Shares(tally.rows, len(tally.right), tally.estimate())


class _Tally:
    """Adds up what the answers say of each label, and keeps the gold rows."""

    def __init__(self, labels: list[str], gold: Gold) -> None:
        self._labels = labels
        self._place = {label: place for place, label in enumerate(labels)}
        self._gold = gold
        self._said = np.zeros(len(labels))
        self._counted = np.zeros(len(labels))
        self._weights: list[float] = []
        self._gold_said: list[Floats] = []
        self._seen: set[str] = set()
        self.right: list[Floats] = []
        self.rows = 0

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Take rows of the output."""
        for row in rows:
            said = np.zeros(len(self._labels))
            given = row["labels"] if row["labels"] is not None else [row]
            for item in given:
                if (place := self._place.get(item["label"])) is not None:
                    said[place] = item["confidence"] or 0.0
                    self._counted[place] += 1
            if row["labels"] is None and len(self._labels) > 1:
                # What is left of the confidence falls to the other labels alike.
                said = np.where(said > 0, said, (1 - said.sum()) / (len(self._labels) - 1))
            self.rows += 1
            self._said += said
            self._take_gold(row["id"], said)

    def _take_gold(self, id: str, said: Floats) -> None:
        if id not in self._gold.labels or id in self._seen:
            return
        self._seen.add(id)
        right = np.zeros(len(self._labels))
        for label in self._gold.labels[id]:
            if label in self._place:  # the fallback label is none of them
                right[self._place[label]] = 1.0
        self.right.append(right)
        self._gold_said.append(said)
        self._weights.append(self._gold.weights.get(id, 1.0))

    def estimate(self) -> list[Share]:
        """Return the shares."""
        return estimate_shares(
            self._labels,
            np.array(self.right),
            np.array(self._gold_said),
            self._said / self.rows,
            self._counted / self.rows,
            self.rows,
            np.array(self._weights),
        )
