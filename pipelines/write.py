"""Where rows go: a folder, a table or a topic, of a job that ends or of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from classer_core.records import FAILURE_SCHEMA
from classer_core.storage import join
from pipelines.bigquery.schema import result_column
from pipelines.bigquery.write import CommitTable, Target, WriteTable, Written
from pipelines.chunks import ClassifiedChunk
from pipelines.job import Job
from pipelines.job.sections import BigQueryOutput, BigQuerySource, FileOutput, KafkaOutput, PubSubOutput
from pipelines.queues.settings import output_folders
from pipelines.queues.topics import topic_settings
from pipelines.writers.files import WriteTemporaryFiles
from pipelines.writers.publish import PublishFiles, RowFolder
from pipelines.writers.streams import WriteStream
from pipelines.writers.topics import PublishFailures, PublishResults

FAILURES = "failures"


class WriteResults(beam.PTransform[Any, Any]):
    """Classified chunks in; result rows are written. What comes out is `Written`.

    Of a source that ends, rows of a folder or a table are not seen before `PublishRows`.

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
            write = WriteTable(output, self._schema, self._run, job.source.is_stream)
            refused, done = outcomes.results | "Rows" >> write
            return Written((outcomes[FAILURES], *refused), done)
        done = outcomes.results | "Rows" >> _folder_sink(job, output, self._schema, self._run)
        return Written((outcomes[FAILURES],), done)


class WriteFailures(beam.PTransform[Any, Any]):
    """Collections of batches of failures in; they are written. What comes out are collections done when they are.

    Of a source that ends, they are not seen before `PublishRows`.
    """

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
    return beam.ParDo(WriteTemporaryFiles(join(output.path, "_temporary", run), output.format))


class PublishRows(beam.PTransform[Any, Any]):
    """What a run has written becomes its output, if the verdict on the run allows it. Bounded jobs only.

    Args:
        job: says where.
        run: name of this run.
        is_leased: whether the run holds its folders as long as it goes on.
        written: (output, schema, what `WriteResults` or `WriteFailures` has written) of each output.
    """

    def __init__(self, job: Job, run: str, is_leased: bool, written: Sequence[tuple[Any, pa.Schema, Any]]) -> None:
        super().__init__()
        self._job = job
        self._run = run
        self._is_leased = is_leased
        self._written = written

    def expand(self, verdict: Any) -> Any:
        """All folders in one step; each table in one of its own. What comes out is done when they are."""
        once = verdict.pipeline | "Once" >> beam.Create([None], reshuffle=False)
        judged = beam.pvalue.AsSingleton(verdict)
        done = []
        folders = [item for item in self._written if isinstance(item[0], FileOutput)]
        if folders:
            rows = [RowFolder(output.path, output.format, schema) for output, schema, _ in folders]
            publish = PublishFiles(rows, self._run, self._is_leased)
            files = [beam.pvalue.AsList(paths) for *_, paths in folders]
            done.append(once | "Files" >> beam.ParDo(publish, judged, *files))
        for number, (output, schema, streams) in enumerate(self._written):
            if isinstance(output, BigQueryOutput):
                newest_by = newest_column(self._job) if number == 0 else None
                commit = CommitTable(Target(output, schema, self._run), newest_by)
                done.append(once | f"Table{number}" >> beam.ParDo(commit, judged, beam.pvalue.AsList(streams)))
        return tuple(done)


def newest_column(job: Job) -> str | None:
    """The column of the results that says which of two rows is newer, if there is one."""
    return result_column(watermark) if (watermark := watermark_column(job)) else None


def watermark_column(job: Job) -> str | None:
    """The source's column that says what is new, if it has one."""
    return job.source.watermark if isinstance(job.source, BigQuerySource) else None
