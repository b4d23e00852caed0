"""JudgeRun: whether what a run has made may replace the last output. It is known before anything is published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics

from classer_core.errors import FailureCode
from pipelines.chunks import ClassifiedChunk
from pipelines.classify import NAMESPACE
from pipelines.limits import Limits, Tally, Verdict


class JudgeRun(beam.PTransform[Any, Any]):
    """Return the one verdict on a run, from its classified chunks and batches of failures. Bounded.

    Args:
        limits: how much may fail.
        failures: all failures of the run; those of the chunks, and rows that the output refuses.
    """

    def __init__(self, limits: Limits, failures: Sequence[Any]) -> None:
        super().__init__()
        self._limits = limits
        self._failures = failures

    def expand(self, chunks: Any) -> Any:
        """Counts travel, no rows."""
        records = chunks | "Records" >> beam.Map(tally_of_chunk)
        failures = [batches | f"Failures{n}" >> beam.Map(tally_of_failures) for n, batches in enumerate(self._failures)]
        return (
            (records, *failures)
            | "All" >> beam.Flatten()
            | "Sum" >> beam.CombineGlobally(summed)
            | "Judge" >> beam.ParDo(Judge(self._limits))
        )


class Judge(beam.DoFn):
    """Judge the tally of a run."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def process(self, tally: Tally) -> Iterable[Verdict]:
        """One element."""
        verdict = self._limits.judge(tally)
        Metrics.counter(NAMESPACE, "unreadable_files").inc(len(tally.unreadable))
        Metrics.counter(NAMESPACE, "withheld").inc(not verdict.publishes)
        yield verdict


def tally_of_chunk(chunk: ClassifiedChunk) -> Tally:
    """Return the number of records of a chunk."""
    return Tally(chunk.results.num_rows + chunk.failures.num_rows)


def tally_of_failures(failures: pa.RecordBatch) -> Tally:
    """Return the number of failures of a batch, and the files among them."""
    codes: Any = failures.column("code")
    unreadable: Any = pa.scalar(FailureCode.FILE_UNREADABLE.value)
    ids: Any = failures.column("id").filter(pc.equal(codes, unreadable))
    return Tally(0, failures.num_rows, frozenset(ids.to_pylist()))


def summed(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of tallies."""
    records = failed = 0
    unreadable: set[str] = set()
    for tally in tallies:
        records += tally.records
        failed += tally.failed
        unreadable |= tally.unreadable
    return Tally(records, failed, frozenset(unreadable))
