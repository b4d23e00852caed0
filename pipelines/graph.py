"""The whole program on one screen.

ReadRecords -> FetchContents -> (JoinAnswers) -> ClassifyRecords -> results  -> WriteRows
                 or ReadStream                                   -> failures -> WriteRows, WriteStream or WriteTopic

JoinAnswers is there with `dedup: global` (answers of AnswerDistinct) and with `only: stale` (those of the last output).
The readers of a stream fetch for themselves, each slow record at its own pace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
import pyarrow as pa

from classer_core.cached import CachedEngine
from classer_core.records import FAILURE_SCHEMA
from pipelines.chunks import CHUNK_ROWS, ClassifiedChunk, output_schema
from pipelines.classify import ClassifyRecords
from pipelines.dedup import AnswerDistinct
from pipelines.fetch import FetchContents
from pipelines.gold import KeepRecords
from pipelines.job import Job
from pipelines.known import JoinAnswers
from pipelines.queues.settings import output_folders, queue_settings
from pipelines.queues.topics import topic_settings
from pipelines.read import ReadRecords
from pipelines.readers import Columns
from pipelines.sections import FileOutput, KafkaOutput, PubSubOutput
from pipelines.streaming.source import ReadStream, Stream
from pipelines.write import WriteRows
from pipelines.write_stream import WriteStream
from pipelines.write_topic import PublishFailures, PublishResults

FAILURES = "failures"
# Rows reach a topic at once; after so long their messages are acknowledged. Between two bundles Beam's local runner
# stands still for up to 0.2 s.
TOPIC_BUNDLE_S = 10.0


def build(
    pipeline: beam.Pipeline,
    job: Job,
    columns: Columns,
    run: str,
    folder: str,
    load: Callable[[], CachedEngine],
    only: frozenset[str] | None = None,
    readers: int | None = 1,
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
        readers: how many workers read a stream side by side; None reads it with Beam's own connectors.
    """
    if job.source.is_stream:
        records = pipeline | "Records" >> StreamedRecords(job, columns, folder, load, readers)
    else:
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
    classified = records | "ClassifyRecords" >> ClassifyRecords(load, job.abstention)
    if isinstance(job.output, PubSubOutput | KafkaOutput):
        publish = PublishResults(topic_settings(job.output), from_messages=job.source.is_stream)
        failures = classified | "WriteResults" >> publish  # those that it has refused are among them
    else:
        outcomes = classified | "Outcomes" >> beam.ParDo(split_outcomes).with_outputs(FAILURES, main="results")
        _ = outcomes.results | "WriteResults" >> sink(job, job.output, output_schema(columns.passed), run)
        failures = outcomes[FAILURES]
    _ = failures | "WriteFailures" >> sink(job, job.failures_output, FAILURE_SCHEMA, run)


def sink(job: Job, output: Any, schema: pa.Schema, run: str) -> beam.PTransform[Any, Any]:
    """What writes the batches of one of a job's outputs."""
    if isinstance(output, PubSubOutput | KafkaOutput):
        return PublishFailures(topic_settings(output))
    if job.source.is_stream:
        return WriteStream(output.path, output.format, schema, output_folders(job))
    return WriteRows(output.path, output.format, schema, run)


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


class StreamedRecords(beam.PTransform[Any, Any]):
    """The records of a job's queue, with the bytes of their attachments."""

    def __init__(
        self, job: Job, columns: Columns, folder: str, load: Callable[[], CachedEngine], readers: int | None
    ) -> None:
        super().__init__()
        self._job = job
        self._columns = columns
        self._folder = folder
        self._load = load
        self._readers = readers

    def expand(self, pbegin: Any) -> Any:
        """Our own reader, which acknowledges what is written; or a connector of Beam's, where the runner does that."""
        job, rules = self._job, self._job.fetch_rules(self._folder)
        if self._readers is None:
            from pipelines.streaming.connectors import ParseMessages, ReadMessages

            return (
                pbegin
                | "ReadMessages" >> ReadMessages(job.source, self._folder)
                | "Together" >> beam.BatchElements(1, CHUNK_ROWS)
                | "ParseMessages" >> beam.ParDo(ParseMessages(job, self._columns))
                | "FetchContents" >> beam.ParDo(FetchContents(rules, job.source.format == "documents"))
            )
        stream = Stream(job, self._columns, self._folder, self._load, bundle_seconds(job))
        return pbegin | "ReadStream" >> ReadStream(stream, queue_settings(job, self._folder), self._readers)


def bundle_seconds(job: Job) -> float:
    """How long a stream's rows are gathered before they are published: what topics get is there at once anyway."""
    return job.output.file_seconds if isinstance(job.output, FileOutput) else TOPIC_BUNDLE_S


def split_outcomes(chunk: ClassifiedChunk) -> Iterable[Any]:
    """Result rows to the main output, failure rows to `failures`."""
    yield chunk.results
    yield beam.pvalue.TaggedOutput(FAILURES, chunk.failures)
