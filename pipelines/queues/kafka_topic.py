"""Kafka as a place where rows go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipelines.queues.kafka_cluster import KafkaCluster, kafka_library
from pipelines.queues.topics import OutgoingMessage, Refused, Topic

# What is on its way; sending more waits.
OUT_MESSAGES, OUT_KIB = 10_000, 32 << 10
SERVE_S = 0.05
LINGER_MS = 5


@dataclass(frozen=True)
class KafkaTopicSettings:
    """A topic of a cluster."""

    cluster: KafkaCluster
    topic: str

    def check(self) -> None:
        """See `TopicSettings.check`."""
        self.cluster.partitions(self.producer(), self.topic)

    def open(self) -> Topic:
        """See `TopicSettings.open`."""
        return KafkaTopic(self)

    def producer(self) -> Any:
        """A connection. Its own retries neither double messages nor change their order."""
        defaults = {
            "linger.ms": LINGER_MS,
            "queue.buffering.max.messages": OUT_MESSAGES,
            "queue.buffering.max.kbytes": OUT_KIB,
        }
        return self.cluster.client("Producer", defaults, {"acks": "all", "enable.idempotence": True})


class KafkaTopic:
    """One open topic. See `Topic`; the library tries again for `message.timeout.ms`, five minutes."""

    def __init__(self, settings: KafkaTopicSettings) -> None:
        self._library = kafka_library()
        self._refusals = {
            getattr(self._library.KafkaError, name)
            for name in ("MSG_SIZE_TOO_LARGE", "INVALID_MSG_SIZE", "INVALID_RECORD", "INVALID_TIMESTAMP")
        }
        self._topic = settings.topic
        self._producer = settings.producer()
        self._out = 0
        self._refused: list[Refused] = []
        self._neighbours: list[OutgoingMessage] = []  # of refused messages, whose batch they shared
        self._error: Any = None

    def send(self, message: OutgoingMessage) -> None:
        """See `Topic.send`."""
        headers = [(name, value.encode()) for name, value in message.all_attributes().items()]
        key = None if message.key is None else message.key.encode()
        time = {} if message.event_time is None else {"timestamp": round(message.event_time.timestamp() * 1_000)}
        arrived = partial(self._arrived, message)
        while True:
            try:
                self._producer.produce(self._topic, message.data, key, headers=headers, on_delivery=arrived, **time)
                break
            except BufferError:
                self._producer.poll(SERVE_S)
            except self._library.KafkaException as error:
                self._out += 1
                self._arrived(message, error.args[0], None)
                return
        self._out += 1
        self._producer.poll(0)

    def wait(self) -> Sequence[Refused]:
        """See `Topic.wait`. Neighbours of what is refused are sent again, each alone."""
        self._flush()
        while self._neighbours and self._error is None:
            self.send(self._neighbours.pop(0))
            self._flush()
        error, self._error = self._error, None
        refused, self._refused = self._refused, []
        self._neighbours.clear()
        if error is not None:
            raise self._library.KafkaException(error)
        return refused

    def close(self) -> None:
        """See `Topic.close`."""
        self._producer.flush(0)

    def _flush(self) -> None:
        while self._out:
            self._producer.flush(SERVE_S)

    def _arrived(self, message: OutgoingMessage, error: Any, _: Any) -> None:
        self._out -= 1
        if error is None:
            return
        if error.code() in self._refusals:
            self._refused.append(Refused(message, error.str()))
        elif error.code() == self._library.KafkaError._INVALID_DIFFERENT_RECORD:
            self._neighbours.append(message)
        else:
            self._error = self._error or error
