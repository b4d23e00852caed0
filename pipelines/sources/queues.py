"""Queues of a server: Pub/Sub and Kafka. Each message is a record: JSON with request fields, or a plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from typing_extensions import override

from pipelines.sections import Name, Options
from pipelines.sources import StreamSource

if TYPE_CHECKING:
    import apache_beam as beam

    from pipelines.queues import QueueSettings


class PubSubSource(StreamSource):
    """A Pub/Sub subscription. `timestamp_attribute` holds the event time, instead of the time of publishing."""

    format: Literal["pubsub"]
    subscription: Annotated[str, Field(pattern=r"^projects/[^/]+/subscriptions/[^/]+$")]
    id_attribute: Name | None = None
    timestamp_attribute: Name | None = None

    @override
    @property
    def message_id_attribute(self) -> str | None:
        return self.id_attribute

    def queue(self, folder: str, outputs: tuple[str, ...]) -> QueueSettings:
        """Return what opens the subscription."""
        from pipelines.queues.pubsub import PubSubQueueSettings

        return PubSubQueueSettings(self.subscription, self.timestamp_attribute, self.max_future)

    def messages(self, folder: str) -> beam.PTransform[Any, Any]:
        """Return Beam's own connector."""
        from pipelines.streaming.connectors import ReadPubSub

        return ReadPubSub(self.subscription, self.id_attribute, self.timestamp_attribute, self.max_future)


class KafkaSource(StreamSource):
    """A Kafka topic, read for a consumer group. `options` are librdkafka's; a value `env:NAME` is a variable's.

    `timestamp_attribute` is the header that holds the event time, instead of the time of publishing.
    """

    format: Literal["kafka"]
    bootstrap_servers: Name
    topic: Name
    group: Name
    options: Options = Field(default_factory=dict, repr=False)
    timestamp_attribute: Name | None = None

    @override
    @property
    def place(self) -> str:
        return f"{self.bootstrap_servers}/{self.topic}"

    def queue(self, folder: str, outputs: tuple[str, ...]) -> QueueSettings:
        """Return what opens the topic."""
        from pipelines.queues.kafka import KafkaQueueSettings
        from pipelines.queues.kafka_cluster import KafkaCluster

        cluster = KafkaCluster(self.bootstrap_servers, self.options)
        return KafkaQueueSettings(cluster, self.topic, self.group, self.timestamp_attribute, self.max_future)

    def messages(self, folder: str) -> beam.PTransform[Any, Any]:
        """Return Beam's own connector."""
        from pipelines.queues.kafka_cluster import KafkaCluster
        from pipelines.streaming.connectors import ReadKafka

        cluster = KafkaCluster(self.bootstrap_servers, self.options)
        return ReadKafka(cluster, self.topic, self.group, self.timestamp_attribute, self.max_future)
