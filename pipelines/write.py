"""Where rows go: a folder, a table or a topic, of a job that ends or of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from classer_core.records import FAILURE_SCHEMA
from pipelines.bigquery.schema import result_column
from pipelines.bigquery.write import WriteTable, Written
from pipelines.chunks import ClassifiedChunk
from pipelines.job import Job
from pipelines.job.sections import BigQueryOutput, BigQuerySource, KafkaOutput, PubSubOutput
from pipelines.queues.settings import output_folders
from pipelines.queues.topics import topic_settings
from pipelines.writers.files import WriteRows
from pipelines.writers.streams import WriteStream
from pipelines.writers.topics import PublishFailures, PublishResults

FAILURES = "failures"


class WriteResults(beam.PTransform[Any, Any]):
    """Classified chunks in; result rows are written. What comes out is `Written`.

    Failures are those of the chunks and the rows that the output refuses, in one or several collections.

    Args:
        job: says where.
        schema: of the result rows.
        run: name of this run.
    """

    def __init__(self, job: Job, schema: pa.Schema, run: str) -> None:
        super().__init__()
        self._job = job
        self._schema = schema
        self._run = run

    def expand(self, chunks: Any) -> Any:
        """No Flatten: on some runners it would part the end of a stream's bundle from its beginning."""
        job, output = self._job, self._job.output
        if isinstance(output, PubSubOutput | KafkaOutput):
            publish = PublishResults(topic_settings(output), from_messages=job.source.is_stream)
            failures = chunks | "Rows" >> publish
            return Written((failures,), failures)
        outcomes = chunks | "Outcomes" >> beam.ParDo(split_outcomes).with_outputs(FAILURES, main="results")
        if isinstance(output, BigQueryOutput):
            newest_by = result_column(watermark) if (watermark := watermark_column(job)) else None
            write = WriteTable(output, self._schema, self._run, job.source.is_stream, newest_by)
            refused, done = outcomes.results | "Rows" >> write
            return Written((outcomes[FAILURES], *refused), done)
        done = outcomes.results | "Rows" >> _folder_sink(job, output, self._schema, self._run)
        return Written((outcomes[FAILURES],), done)


class WriteFailures(beam.PTransform[Any, Any]):
    """Collections of batches of failures in; they are written. What comes out are collections done when they are."""

    def __init__(self, job: Job, run: str) -> None:
        super().__init__()
        self._job = job
        self._run = run

    def expand(self, collections: Sequence[Any]) -> Any:
        """A stream's collections are written one by one, before their bundles end; others all at once."""
        if self._job.source.is_stream:
            written = [failures | f"Rows{number}" >> self._sink() for number, failures in enumerate(collections)]
        else:
            written = [collections | "All" >> beam.Flatten() | "Rows" >> self._sink()]
        return tuple(item.done if isinstance(item, Written) else item for item in written)

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


def watermark_column(job: Job) -> str | None:
    """The source's column that says what is new, if it has one."""
    return job.source.watermark if isinstance(job.source, BigQuerySource) else None
