"""TakeBudget: how much of a job one run does. What is left is for the next one."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import pyarrow.compute as pc
from apache_beam.metrics import Metrics

from pipelines.chunks import Chunk, ClassifiedChunk
from pipelines.classify import NAMESPACE
from pipelines.shared import Shared

POSTPONED = "postponed"
# Records that are taken at once where tokens count: nobody knows before how many they have.
ROWS_TOGETHER = 512


class Budget:
    """Records and tokens that a run may still take: one for all steps of a process, in which the whole run is.

    Args:
        max_rows: records that end as rows. Those that fail don't count: they would be in the way of every next run.
        max_tokens: what models read; the records that reach it are the last.
    """

    def __init__(self, max_rows: int | None, max_tokens: int | None) -> None:
        self._rows = max_rows
        self._tokens = max_tokens
        self._lock = threading.Lock()

    def take(self, rows: int) -> int:
        """How many of these records may be classified."""
        with self._lock:
            if self._tokens is not None and self._tokens <= 0:
                return 0
            if self._tokens is not None:
                rows = min(rows, ROWS_TOGETHER)
            if self._rows is not None:
                rows = min(rows, self._rows)
                self._rows -= rows
            return rows

    def give_back(self, rows: int) -> None:
        """Give back the budget of records that were taken and did not become rows."""
        with self._lock:
            if self._rows is not None:
                self._rows += rows

    def spend(self, tokens: int) -> None:
        """Takes what was read off."""
        with self._lock:
            if self._tokens is not None:
                self._tokens -= tokens


_budgets: Shared[Budget] = Shared()


def shared_budget(run: str, max_rows: int | None, max_tokens: int | None) -> Budget:
    """The budget of a run in this process, as long as anybody uses it."""
    return _budgets.get(run, lambda: Budget(max_rows, max_tokens))


def give_back(run: str, rows: int) -> None:
    """Give back the budget of results that the output refuses. Without a budget nothing happens."""
    budget = _budgets.find(run)
    if budget is not None:
        budget.give_back(rows)


class _Budgeted(beam.DoFn):
    def __init__(self, run: str, max_rows: int | None, max_tokens: int | None) -> None:
        self._given = (run, max_rows, max_tokens)

    def setup(self) -> None:
        """Open the run's budget."""
        self._budget = shared_budget(*self._given)


class TakeBudget(_Budgeted):
    """Yield the chunks that the run may classify, and to `postponed` the number of records that it may not."""

    def process(self, chunk: Chunk) -> Iterable[Any]:
        """Failures of before go on in any case. Each part is through all steps before the next one is taken."""
        start = 0
        while taken := self._budget.take(len(chunk) - start):
            yield chunk.part(start, start + taken)
            start += taken
        if start == 0 and chunk.failures:
            yield chunk.part(0, 0)
        if left := len(chunk) - start:
            Metrics.counter(NAMESPACE, "postponed").inc(left)
            yield beam.pvalue.TaggedOutput(POSTPONED, left)


class SpendBudget(_Budgeted):
    """Take off the budget what was read for classified chunks, give back what failed, and yield them unchanged."""

    def process(self, chunk: ClassifiedChunk) -> Iterable[ClassifiedChunk]:
        """Cached answers cost nothing."""
        read = chunk.results.filter(pc.invert(chunk.results.column("cached")))
        self._budget.spend(pc.sum(read.column("tokens")).as_py() or 0)
        stages = chunk.failures.column("stage").to_pylist()
        self._budget.give_back(sum(stage in ("expand", "classify") for stage in stages))
        yield chunk
