"""The whole program on one screen.

ReadRecords -> FetchContents -> (JoinAnswers) -> ClassifyRecords -> results  -> WriteRows
                                                                 -> failures -> WriteRows

JoinAnswers is there with `dedup: global` (answers of AnswerDistinct) and with `only: stale` (those of the last output).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
import pyarrow as pa

from classer_core.cached import CachedEngine
from classer_core.records import FAILURE_SCHEMA
from pipelines.bigquery.write import Mark, WriteTable
from pipelines.budget import POSTPONED, SpendBudget, TakeBudget
from pipelines.chunks import ClassifiedChunk, output_schema
from pipelines.classify import ClassifyRecords
from pipelines.dedup import AnswerDistinct
from pipelines.fetch import FetchContents
from pipelines.gold import KeepRecords
from pipelines.job import Job
from pipelines.known import JoinAnswers
from pipelines.read import ReadRecords
from pipelines.readers import Columns
from pipelines.sections import BigQueryOutput, BigQuerySource
from pipelines.write import WriteRows

FAILURES = "failures"


def build(
    pipeline: beam.Pipeline,
    job: Job,
    columns: Columns,
    run: str,
    folder: str,
    load: Callable[[], CachedEngine],
    only: frozenset[str] | None = None,
) -> None:
    """Adds a job's steps to a pipeline.

    Args:
        pipeline: where to.
        job: what to do.
        columns: what the job takes from its source (`source_columns(job)`).
        run: name of this run, in letters, digits and underscores.
        folder: file names in ids are relative to it.
        load: loads the engine; called once per worker process, so it must be picklable.
        only: ids of the records to classify; without, all of them.
    """
    records = pipeline | "Records" >> FetchedRecords(job, columns, folder)
    if only is not None:
        records = records | "KeepRecords" >> beam.ParDo(KeepRecords(only))
    if job.dedup == "global":
        # Read twice instead of shuffled: rows stay where they are, only distinct contents and their answers travel.
        once = pipeline | "RecordsForDedup" >> FetchedRecords(job, columns, folder)
        answers = once | "AnswerDistinct" >> AnswerDistinct(job, load, run)
        records = records | "JoinAnswers" >> beam.ParDo(JoinAnswers(job, load, run), beam.pvalue.AsIter(answers))
    elif job.only == "stale":
        records = records | "JoinAnswers" >> beam.ParDo(JoinAnswers(job, load, run))
    budget, postponed = (run, job.max_rows, job.max_tokens), None
    if job.max_rows is not None or job.max_tokens is not None:
        taken = records | "TakeBudget" >> beam.ParDo(TakeBudget(*budget)).with_outputs(POSTPONED, main="records")
        records, postponed = taken.records, taken[POSTPONED]
    chunks = records | "ClassifyRecords" >> ClassifyRecords(load, job.abstention)
    if job.max_tokens is not None:
        chunks = chunks | "SpendBudget" >> beam.ParDo(SpendBudget(*budget))
    classified = chunks | "Outcomes" >> beam.ParDo(split_outcomes).with_outputs(FAILURES, main="results")
    failures = classified[FAILURES]
    schema = output_schema(columns.passed)
    if isinstance(job.output, BigQueryOutput):
        refused = classified.results | "WriteResults" >> WriteTable(
            job.output, schema, run, _mark(job, columns), postponed
        )
        failures = (failures, refused) | "AllFailures" >> beam.Flatten()
    else:
        _ = classified.results | "WriteResults" >> _writer(job.output, schema, run)
    _ = failures | "WriteFailures" >> _writer(job.failures_output, FAILURE_SCHEMA, run)


def _writer(output: Any, schema: pa.Schema, run: str) -> beam.PTransform[Any, Any]:
    if isinstance(output, BigQueryOutput):
        return WriteTable(output, schema, run)
    return WriteRows(output.path, output.format, schema, run)


def _mark(job: Job, columns: Columns) -> Mark | None:
    source = job.source
    marked = isinstance(source, BigQuerySource) and source.watermark is not None
    return Mark(source, columns.scope.until) if marked else None


class FetchedRecords(beam.PTransform[Any, Any]):
    """The records of a job's source, with the bytes of their attachments."""

    def __init__(self, job: Job, columns: Columns, folder: str) -> None:
        super().__init__()
        self._job = job
        self._columns = columns
        self._folder = folder

    def expand(self, pbegin: Any) -> Any:
        """Reads, then fetches."""
        rules, from_source = self._job.fetch_rules(self._folder), self._job.source.format == "documents"
        return (
            pbegin
            | "ReadRecords" >> ReadRecords(self._job, self._columns, self._folder)
            | "FetchContents" >> beam.ParDo(FetchContents(rules, from_source))
        )


def split_outcomes(chunk: ClassifiedChunk) -> Iterable[Any]:
    """Result rows to the main output, failure rows to `failures`."""
    yield chunk.results
    yield beam.pvalue.TaggedOutput(FAILURES, chunk.failures)
