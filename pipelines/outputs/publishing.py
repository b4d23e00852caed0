"""PublishResults, PublishFailures: rows in, each one JSON message of a topic.

Rows are sent as they come, and are durable when their bundle ends: before messages that they answer are acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from classer_core.errors import FailureCode
from classer_core.records import Failure, failures_to_arrow
from pipelines import shown
from pipelines.chunks import ClassifiedChunk, record_json
from pipelines.classify import NAMESPACE
from pipelines.queues.topics import OutgoingMessage, Refused, TopicSettings
from pipelines.writers.files import row_as_json

# What is left of each text of a failure row that is too large itself.
SHORT_CHARS = 1_000


class PublishResults(beam.PTransform[Any, Any]):
    """Publishes the results of ClassifiedChunks. Bounded or not.

    Batches of failures out: those of the chunks, and rows that the server refuses, for their size mostly. They do not
    come together by a Flatten, which would part the bundle from its end on some runners.

    Args:
        settings: what opens the topic.
        from_messages: whether rows have the columns of the messages that they answer: key, time and attributes.
    """

    def __init__(self, settings: TopicSettings, from_messages: bool) -> None:
        super().__init__()
        self._publish = PublishChunks(settings, from_messages)

    def expand(self, chunks: Any) -> Any:
        """One step."""
        return chunks | "Publish" >> beam.ParDo(self._publish)


class PublishFailures(beam.PTransform[Any, Any]):
    """Publishes batches of failures. Bounded or not. One that is refused is sent again with less of its texts."""

    def __init__(self, settings: TopicSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, batches: Any) -> Any:
        """One step."""
        return batches | "Publish" >> beam.ParDo(PublishFailureRows(self._settings))


class PublishChunks(beam.DoFn):
    """See `PublishResults`."""

    def __init__(self, settings: TopicSettings, from_messages: bool) -> None:
        self._settings = settings
        self._from_messages = from_messages
        self._refused = Metrics.counter(NAMESPACE, f"failures.{FailureCode.ROW_REFUSED}")

    def setup(self) -> None:
        """Once per worker."""
        self._topic = self._settings.open()

    def process(self, chunk: ClassifiedChunk, timestamp: Any = beam.DoFn.TimestampParam) -> Iterable[pa.RecordBatch]:
        """Sends the results."""
        rows = chunk.results.to_pylist()
        for message in messages_of(rows, timestamp, self._from_messages):
            self._topic.send(message)
        shown.keep(rows)
        yield chunk.failures

    def finish_bundle(self) -> Iterable[WindowedValue]:
        """Waits until the results are durable."""
        refused = self._topic.wait()
        self._refused.inc(len(refused))
        for item in refused:
            yield WindowedValue(failures_to_arrow([failure_of(item)]), item.message.origin, (GlobalWindow(),))

    def teardown(self) -> None:
        """Closes the connection."""
        self._topic.close()


class PublishFailureRows(beam.DoFn):
    """See `PublishFailures`."""

    def __init__(self, settings: TopicSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        """Once per worker."""
        self._topic = self._settings.open()

    def process(self, batch: pa.RecordBatch) -> None:
        """Sends the rows."""
        for message in messages_of(batch.to_pylist(), None, from_messages=False):
            self._topic.send(message)

    def finish_bundle(self) -> None:
        """Waits until the rows are durable.

        Raises:
            RuntimeError: the server refuses short rows too.
        """
        for item in self._topic.wait():
            self._topic.send(shortened(item.message))
        if refused := self._topic.wait():
            raise RuntimeError(f"The topic of the failures refuses them: {refused[0].reason}")

    def teardown(self) -> None:
        """Closes the connection."""
        self._topic.close()


def messages_of(rows: Iterable[dict[str, Any]], origin: Any, from_messages: bool) -> Iterator[OutgoingMessage]:
    """Yield a message for each row."""
    for row in rows:
        given = row if from_messages else {}
        attributes = given.get("attributes")
        yield OutgoingMessage(
            data=row_as_json(row),
            id=row["id"],
            event_time=given.get("event_time"),
            key=given.get("message_key"),
            attributes=orjson.loads(attributes) if attributes else {},
            origin=origin,
        )


def failure_of(refused: Refused) -> Failure:
    """The failure row of a row that a server has refused."""
    message = f"the topic refuses the row of {len(refused.message.data):,} bytes: {refused.reason[:500]}"
    record = record_json(orjson.loads(refused.message.data))
    return Failure(refused.message.id, "write", FailureCode.ROW_REFUSED, message, None, record)


def shortened(message: OutgoingMessage) -> OutgoingMessage:
    """The message of a failure row with the beginning of its texts only: of the record, but an id may be long too."""
    row = {name: _cut(value) for name, value in orjson.loads(message.data).items()}
    return OutgoingMessage(orjson.dumps(row), row["id"])


def _cut(value: Any) -> Any:
    if not isinstance(value, str) or len(value) <= SHORT_CHARS:
        return value
    return f"{value[:SHORT_CHARS]}… [{len(value)} characters]"
