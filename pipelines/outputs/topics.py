"""Topics of a server: Pub/Sub and Kafka. Each row is a message."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipelines.outputs import Output
from pipelines.sections import Name, Options
from pipelines.written import WritePlan

if TYPE_CHECKING:
    import apache_beam as beam

    from pipelines.queues.topics import TopicSettings


class TopicOutput(Output):
    """A topic. Rows are sent as they come, also those of a run that is withheld in the end."""

    place_key: ClassVar[str] = "topic"
    is_readable: ClassVar[bool] = False

    @abstractmethod
    def settings(self) -> TopicSettings:
        """Return what opens the topic."""

    def prepare(self, section: str, plan: WritePlan, merging: object = None) -> None:
        """Make sure that the topic is there."""
        self.settings().check()

    def write_results(self, plan: WritePlan) -> beam.PTransform[Any, Any]:
        """Return the step that publishes results."""
        from pipelines.outputs.publishing import PublishResults

        return PublishResults(self.settings(), from_messages=plan.is_stream)

    def write_failures(self, plan: WritePlan) -> beam.PTransform[Any, Any]:
        """Return the step that publishes failures."""
        from pipelines.outputs.publishing import PublishFailures

        return PublishFailures(self.settings())

    def first_rows(self, count: int, is_stream: bool) -> Sequence[Mapping[str, Any]]:
        """Return the first rows that this process has sent: a topic is not read back."""
        from pipelines import shown

        return shown.first()[:count]


class PubSubOutput(TopicOutput):
    """A Pub/Sub topic: each row is a message."""

    format: Literal["pubsub"]
    topic: Annotated[str, Field(pattern=r"^projects/[^/]+/topics/[^/]+$")]

    @property
    def place(self) -> str:
        """Where the rows are found."""
        return self.topic

    def settings(self) -> TopicSettings:
        """Return what opens the topic."""
        from pipelines.queues.pubsub_topic import PubSubTopicSettings

        return PubSubTopicSettings(self.topic)


class KafkaOutput(TopicOutput):
    """A Kafka topic: each row is a message. `options` are librdkafka's; a value `env:NAME` is a variable's."""

    format: Literal["kafka"]
    bootstrap_servers: Name
    topic: Name
    options: Options = Field(default_factory=dict, repr=False)

    @property
    def place(self) -> str:
        """Where the rows are found."""
        return f"{self.bootstrap_servers}/{self.topic}"

    def settings(self) -> TopicSettings:
        """Return what opens the topic."""
        from pipelines.queues.kafka_cluster import KafkaCluster
        from pipelines.queues.kafka_topic import KafkaTopicSettings

        return KafkaTopicSettings(KafkaCluster(self.bootstrap_servers, self.options), self.topic)
