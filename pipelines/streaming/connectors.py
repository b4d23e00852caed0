"""Queues through Beam's own connectors, for runners that know them: messages in lists in, chunks out."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from classer_core.environment import is_reference
from classer_core.errors import JobError, Problem
from pipelines.chunks import Chunk
from pipelines.job import Job
from pipelines.job.sections import FileSource, KafkaSource, PubSubSource
from pipelines.queues import Message, kafka_message, pubsub
from pipelines.queues.event_time import MAX_FUTURE_S
from pipelines.queues.folder import file_message
from pipelines.readers import Columns
from pipelines.streaming.parsing import Entry, message_parser, pack
from pipelines.writers.streams import partition_of

_START = {"auto.offset.reset": "earliest"}


class ReadMessages(beam.PTransform[Any, Any]):
    """Reads a queue with one of Beam's connectors, into Messages. Unbounded.

    Pub/Sub's acknowledges once Dataflow has the messages; KafkaIO is Java, and needs Java where the graph is built.
    """

    def __init__(self, source: PubSubSource | KafkaSource | FileSource, folder: str) -> None:
        super().__init__()
        self._source = source
        self._folder = folder

    def expand(self, pbegin: Any) -> Any:
        """Messages as our own queues make them."""
        source, ahead = self._source, self._source.max_future
        if isinstance(source, PubSubSource):
            from apache_beam.io.gcp.pubsub import ReadFromPubSub

            read = ReadFromPubSub(
                subscription=source.subscription,
                with_attributes=True,
                id_label=source.id_attribute,
            )  # its watermark is that of publishing: an attribute may say anything
            messages = beam.Map(pubsub.message_of, source.timestamp_attribute, max_future_s=ahead)
            return pbegin | "ReadFromPubSub" >> read | "Messages" >> messages
        if isinstance(source, KafkaSource):
            from apache_beam.io.kafka import ReadFromKafka

            read = ReadFromKafka(
                {"bootstrap.servers": source.bootstrap_servers, "group.id": source.group, **_START, **_plain(source)},
                [source.topic],
                with_metadata=True,
                commit_offset_in_finalize=True,
            )
            named = source.timestamp_attribute
            return pbegin | "ReadFromKafka" >> read | "Messages" >> beam.Map(message_of_kafka, named, ahead)
        found = [
            pbegin | f"Watch{number}" >> fileio.MatchContinuously(pattern, interval=source.watch)
            for number, pattern in enumerate(source.path)
        ]
        return found | beam.Flatten() | "Messages" >> beam.Map(message_of_file, self._folder, ahead)


def _plain(source: KafkaSource) -> dict[str, str]:
    """Options without secrets: those would be in the graph, for everybody to see who may see the job."""
    if is_reference(source.bootstrap_servers):
        remedy = "Write the servers into the job; KafkaIO gets them with the graph."
        raise JobError([Problem("source.bootstrap_servers", "", "can't be kept out of a job's graph", remedy)])
    if secret := [name for name, value in source.options.items() if is_reference(value)]:
        remedy = "Let KafkaIO's workers know it: a Google-managed cluster takes the job's service account."
        raise JobError([Problem(f"source.options.{secret[0]}", "", "can't be kept out of a job's graph", remedy)])
    return {name: str(value) for name, value in source.options.items()}


def message_of_kafka(row: Any, timestamp_attribute: str | None, max_future_s: float = MAX_FUTURE_S) -> Message:
    """Return what ReadFromKafka gives as one of our messages."""
    attributes = {header.key: kafka_message.text_of(header.value) for header in row.headers or ()}
    place = row.topic, row.partition, row.offset
    return kafka_message.message_of(
        place, row.value, row.key, attributes, row.timestamp, timestamp_attribute, max_future_s
    )


def message_of_file(found: Any, folder: str, max_future_s: float = MAX_FUTURE_S) -> Message:
    """Return a file that has come as a message of `FolderQueue`."""
    return file_message(found.path, (found.size_in_bytes, found.last_updated_in_seconds), folder, max_future_s)


class ParseMessages(beam.DoFn):
    """Lists of Messages in, chunks out, each of one hour of event time."""

    def __init__(self, job: Job, columns: Columns) -> None:
        self._job = job
        self._columns = columns

    def setup(self) -> None:
        """Once per worker."""
        self._parser = message_parser(self._job, self._columns, self._job.request_parser())

    def process(self, messages: list[Message]) -> Iterable[Chunk]:
        """What is no record is in the chunk's failures."""
        entries = sorted(self._parser.parse(messages), key=lambda entry: entry.published_at)
        for _, same in groupby(entries, key=_partition):
            found = list(same)
            timestamp = Timestamp.from_utc_datetime(found[0].published_at)
            yield TimestampedValue(pack(found, self._columns.passed), timestamp)


def _partition(entry: Entry) -> str:
    return partition_of(entry.published_at)
