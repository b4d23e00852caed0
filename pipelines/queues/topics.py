"""Topics: messages out. They know servers, and nothing of Beam.

settings (picklable, travels to the worker) --open--> Topic --send, send, ... wait--> what the server has refused
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from classer_core.errors import JobError, Problem
from pipelines.job.sections import KafkaOutput, KafkaSource, PubSubOutput

if TYPE_CHECKING:
    from pipelines.job import Job


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One row on its way.

    Args:
        data: the body.
        id: the record's; an attribute, so that readers can tell a message from its repetition.
        event_time: in UTC; an attribute, and Kafka's time of the message.
        key: of Kafka.
        attributes: more of them; headers of Kafka.
        origin: the sender's own, for what is refused.
    """

    data: bytes
    id: str
    event_time: datetime | None = None
    key: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    origin: Any = None

    def all_attributes(self) -> dict[str, str]:
        """With the id and the time."""
        time = {} if self.event_time is None else {"event_time": self.event_time.isoformat()}
        return {**self.attributes, **time, "id": self.id}


class Refused(NamedTuple):
    """A message that the server takes neither now nor later, and why."""

    message: OutgoingMessage
    reason: str


class Topic(Protocol):
    """One open connection, used by one thread."""

    def send(self, message: OutgoingMessage) -> None:
        """Sends at once, together with its neighbours; waits while too much is on its way."""

    def wait(self) -> Sequence[Refused]:
        """All that was sent is durable when this returns, but for what is refused for its own sake.

        Raises:
            Exception: the server is away for too long, or refuses everything: no message is at fault.
        """

    def close(self) -> None:
        """Lets go of the connection."""


class TopicSettings(Protocol):
    """What opens a topic; picklable, without secrets."""

    def check(self) -> None:
        """Makes sure, before a job starts, that there is such a topic.

        Raises:
            JobError: there is not, or no permission, or no answer.
        """

    def open(self) -> Topic:
        """A connection.

        Raises:
            JobError: the client library is not installed, or there are no credentials.
        """


def check_topics(job: Job) -> None:
    """Makes sure that the topics which a job writes to are there, and that it does not read them.

    Raises:
        JobError: it is not so.
    """
    for place, output in (("output.topic", job.output), ("failures.topic", job.failures_output)):
        if isinstance(output, PubSubOutput | KafkaOutput):
            topic_settings(output).check()
        if isinstance(output, KafkaOutput) and isinstance(job.source, KafkaSource) and _same(output, job.source):
            raise JobError([Problem(place, output.topic, "is what the job reads", "Write to another topic.")])


def _same(output: KafkaOutput, source: KafkaSource) -> bool:
    return (output.bootstrap_servers, output.topic) == (source.bootstrap_servers, source.topic)


def topic_settings(output: PubSubOutput | KafkaOutput) -> TopicSettings:
    """A job's output in, what opens its topic out. Client libraries are imported where one is wanted."""
    if isinstance(output, PubSubOutput):
        from pipelines.queues.pubsub_topic import PubSubTopicSettings

        return PubSubTopicSettings(output.topic)
    from pipelines.queues.kafka_cluster import KafkaCluster
    from pipelines.queues.kafka_topic import KafkaTopicSettings

    return KafkaTopicSettings(KafkaCluster(output.bootstrap_servers, output.options), output.topic)
