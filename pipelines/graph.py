"""The whole program on one screen.

ReadRecords -> FetchContents -> ClassifyRecords -> results  -> WriteRows
                                                -> failures -> WriteRows
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam

from classer_core.cached import CachedEngine
from classer_core.records import FAILURE_SCHEMA
from pipelines.chunks import ClassifiedChunk, output_schema
from pipelines.classify import ClassifyRecords
from pipelines.fetch import FetchContents
from pipelines.job import Job
from pipelines.read import ReadRecords
from pipelines.readers import Columns
from pipelines.write import WriteRows

FAILURES = "failures"


def build(
    pipeline: beam.Pipeline,
    job: Job,
    columns: Columns,
    run: str,
    folder: str,
    load: Callable[[], CachedEngine],
) -> None:
    """Adds a job's steps to a pipeline.

    Args:
        pipeline: where to.
        job: what to do.
        columns: what the job takes from its source (`source_columns(job)`).
        run: name of this run, in letters, digits and underscores.
        folder: file names in ids are relative to it.
        load: loads the engine; called once per worker process, so it must be picklable.
    """
    classified = (
        pipeline
        | "ReadRecords" >> ReadRecords(job, columns, folder)
        | "FetchContents" >> beam.ParDo(FetchContents(job.fetch_rules(folder), job.source.format == "documents"))
        | "ClassifyRecords" >> ClassifyRecords(load)
        | "Outcomes" >> beam.ParDo(split_outcomes).with_outputs(FAILURES, main="results")
    )
    _ = classified.results | "WriteResults" >> WriteRows(
        job.output.path, job.output.format, output_schema(columns.passed), run
    )
    _ = classified[FAILURES] | "WriteFailures" >> WriteRows(job.failures_path, job.output.format, FAILURE_SCHEMA, run)


def split_outcomes(chunk: ClassifiedChunk) -> Iterable[Any]:
    """Result rows to the main output, failure rows to `failures`."""
    yield chunk.results
    yield beam.pvalue.TaggedOutput(FAILURES, chunk.failures)
