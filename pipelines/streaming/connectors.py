"""Read queues through Beam's own connectors, for runners that support them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from classer_core.environment import is_reference
from classer_core.errors import JobError, Problem
from pipelines.queues import Message, kafka_message, pubsub
from pipelines.queues.event_time import MAX_FUTURE_S
from pipelines.queues.folder import file_message
from pipelines.queues.kafka_cluster import KafkaCluster
from pipelines.readers import Columns
from pipelines.requests import Requests
from pipelines.streaming.parsing import Entry, MessageParser, pack
from pipelines.writers.streams import partition_of

_START = {"auto.offset.reset": "earliest"}


class ReadPubSub(beam.PTransform[Any, Any]):
    """Reads a subscription into `Message`s. Unbounded; messages are acknowledged once Dataflow has them."""

    def __init__(
        self, subscription: str, id_attribute: str | None, timestamp_attribute: str | None, max_future_s: float
    ) -> None:
        super().__init__()
        self._subscription = subscription
        self._id_attribute = id_attribute
        self._messages = beam.Map(pubsub.message_of, timestamp_attribute, max_future_s=max_future_s)

    def expand(self, pbegin: Any) -> Any:
        """Keep the watermark of publishing: an attribute may say anything."""
        from apache_beam.io.gcp.pubsub import ReadFromPubSub

        read = ReadFromPubSub(subscription=self._subscription, with_attributes=True, id_label=self._id_attribute)
        return pbegin | "ReadFromPubSub" >> read | "Messages" >> self._messages


class ReadKafka(beam.PTransform[Any, Any]):
    """Reads a topic into `Message`s. Unbounded. KafkaIO is Java, and needs Java where the graph is built."""

    def __init__(
        self, cluster: KafkaCluster, topic: str, group: str, timestamp_attribute: str | None, max_future_s: float
    ) -> None:
        super().__init__()
        self._cluster = cluster
        self._topic = topic
        self._group = group
        self._messages = beam.Map(message_of_kafka, timestamp_attribute, max_future_s)

    def expand(self, pbegin: Any) -> Any:
        """Commit what is processed.

        Raises:
            JobError: a setting is a secret, which the graph would show.
        """
        from apache_beam.io.kafka import ReadFromKafka

        consumer = {"bootstrap.servers": self._cluster.bootstrap_servers, "group.id": self._group}
        read = ReadFromKafka(
            {**consumer, **_START, **_plain(self._cluster)},
            [self._topic],
            with_metadata=True,
            commit_offset_in_finalize=True,
        )
        return pbegin | "ReadFromKafka" >> read | "Messages" >> self._messages


class WatchFiles(beam.PTransform[Any, Any]):
    """Gives each new file that patterns match as a `Message`. Unbounded."""

    def __init__(self, patterns: Sequence[str], watch_s: float, folder: str, max_future_s: float) -> None:
        super().__init__()
        self._patterns = patterns
        self._watch_s = watch_s
        self._messages = beam.Map(message_of_file, folder, max_future_s)

    def expand(self, pbegin: Any) -> Any:
        """Watch each pattern."""
        files = [
            pbegin | f"Watch{number}" >> fileio.MatchContinuously(pattern, interval=self._watch_s)
            for number, pattern in enumerate(self._patterns)
        ]
        return files | beam.Flatten() | "Messages" >> self._messages


def _plain(cluster: KafkaCluster) -> dict[str, str]:
    """Return options without secrets: those would be in the graph, for everybody to see who may see the job."""
    if is_reference(cluster.bootstrap_servers):
        remedy = "Write the servers into the job; KafkaIO gets them with the graph."
        raise JobError([Problem("source.bootstrap_servers", "", "can't be kept out of a job's graph", remedy)])
    if secret := [name for name, value in cluster.options.items() if is_reference(value)]:
        remedy = "Let KafkaIO's workers know it: a Google-managed cluster takes the job's service account."
        raise JobError([Problem(f"source.options.{secret[0]}", "", "can't be kept out of a job's graph", remedy)])
    return {name: str(value) for name, value in cluster.options.items()}


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


class ParseMessagesFn(beam.DoFn):
    """Makes chunks of lists of `Message`s, each of one hour of event time."""

    def __init__(self, columns: Columns, requests: Requests, id_attribute: str | None) -> None:
        self._columns = columns
        self._requests = requests
        self._id_attribute = id_attribute

    def setup(self) -> None:
        """Make the parser, which all bundles share."""
        self._parser = MessageParser(self._columns, self._requests.parser(), self._id_attribute)

    def process(self, messages: list[Message]) -> Iterable[Any]:
        """Yield chunks with their event times; messages that are not records are in `failures`."""
        entries = sorted(self._parser.parse(messages), key=lambda entry: entry.published_at)
        for _, same in groupby(entries, key=_partition):
            together = list(same)
            timestamp = Timestamp.from_utc_datetime(together[0].published_at)
            yield TimestampedValue(pack(together, self._columns.passed), timestamp)


def _partition(entry: Entry) -> str:
    return partition_of(entry.published_at)
