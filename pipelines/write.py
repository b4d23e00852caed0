"""Where rows go: a folder, a table or a topic, of a job that ends or of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from classer_core.records import FAILURE_SCHEMA
from pipelines.bigquery.write import Mark, WriteTable
from pipelines.chunks import ClassifiedChunk
from pipelines.job import Job
from pipelines.job.sections import BigQueryOutput, BigQuerySource, KafkaOutput, PubSubOutput
from pipelines.queues.settings import output_folders
from pipelines.queues.topics import topic_settings
from pipelines.readers import Columns
from pipelines.writers.files import WriteRows
from pipelines.writers.streams import WriteStream
from pipelines.writers.topics import PublishFailures, PublishResults

FAILURES = "failures"


class WriteResults(beam.PTransform[Any, Any]):
    """Classified chunks in; result rows are written; batches of failures out, in one or several collections.

    Failures are those of the chunks and the rows that the output refuses.

    Args:
        job: says where.
        schema: of the result rows.
        run: name of this run.
        columns: what the job takes from its source.
        postponed: numbers of records that the run has left for the next one.
    """

    def __init__(self, job: Job, schema: pa.Schema, run: str, columns: Columns, postponed: Any = None) -> None:
        super().__init__()
        self._job = job
        self._schema = schema
        self._run = run
        self._columns = columns
        self._postponed = postponed

    def expand(self, chunks: Any) -> Any:
        """No Flatten: on some runners it would part the end of a stream's bundle from its beginning."""
        job, output = self._job, self._job.output
        if isinstance(output, PubSubOutput | KafkaOutput):
            publish = PublishResults(topic_settings(output), from_messages=job.source.is_stream)
            return (chunks | "Rows" >> publish,)
        outcomes = chunks | "Outcomes" >> beam.ParDo(split_outcomes).with_outputs(FAILURES, main="results")
        if isinstance(output, BigQueryOutput):
            mark = _mark(job, self._columns)
            write = WriteTable(output, self._schema, self._run, job.source.is_stream, mark, self._postponed)
            return (outcomes[FAILURES], *(outcomes.results | "Rows" >> write))
        _ = outcomes.results | "Rows" >> _folder_sink(job, output, self._schema, self._run)
        return (outcomes[FAILURES],)


class WriteFailures(beam.PTransform[Any, Any]):
    """Collections of batches of failures in; they are written."""

    def __init__(self, job: Job, run: str) -> None:
        super().__init__()
        self._job = job
        self._run = run

    def expand(self, collections: Sequence[Any]) -> None:
        """A stream's collections are written one by one, before their bundles end; others all at once."""
        if self._job.source.is_stream:
            for number, failures in enumerate(collections):
                _ = failures | f"Rows{number}" >> self._sink()
        else:
            _ = collections | "All" >> beam.Flatten() | "Rows" >> self._sink()

    def _sink(self) -> beam.PTransform[Any, Any]:
        output = self._job.failures_output
        if isinstance(output, PubSubOutput | KafkaOutput):
            return PublishFailures(topic_settings(output))
        if isinstance(output, BigQueryOutput):
            return WriteTable(output, FAILURE_SCHEMA, self._run, self._job.source.is_stream)
        return _folder_sink(self._job, output, FAILURE_SCHEMA, self._run)


def split_outcomes(chunk: ClassifiedChunk) -> Iterable[Any]:
    """Result rows to the main output, failure rows to `failures`."""
    yield chunk.results
    yield beam.pvalue.TaggedOutput(FAILURES, chunk.failures)


def _folder_sink(job: Job, output: Any, schema: pa.Schema, run: str) -> beam.PTransform[Any, Any]:
    if job.source.is_stream:
        return WriteStream(output.path, output.format, schema, output_folders(job))
    return WriteRows(output.path, output.format, schema, run)


def _mark(job: Job, columns: Columns) -> Mark | None:
    source = job.source
    marked = isinstance(source, BigQuerySource) and source.watermark is not None
    return Mark(source, columns.scope.until) if marked else None
