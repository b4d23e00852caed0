"""Pub/Sub as a place where rows go."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.queues.pubsub_client import ANSWER_S, client, job_error
from pipelines.queues.topics import OutgoingMessage, Refused, Topic

# What is on its way; sending more waits.
OUT_MESSAGES, OUT_BYTES = 2_000, 32 << 20
# Of one message. Source: https://cloud.google.com/pubsub/quotas#resource_limits
MAX_ATTRIBUTES, MAX_NAME_BYTES, MAX_VALUE_BYTES = 100, 256, 1_024
RESERVED = "goog"
# Attributes are keyword arguments of the client's `publish`: one with such a name would be taken for its own.
PARAMETERS = frozenset({"self", "topic", "data", "ordering_key", "retry", "timeout"})


@dataclass(frozen=True)
class PubSubTopicSettings:
    """A topic, `projects/P/topics/T`."""

    topic: str

    def check(self) -> None:
        """See `TopicSettings.check`. Who may publish may not always look."""
        with client("PublisherClient") as found:
            from google.api_core import exceptions

            try:
                found.get_topic(topic=self.topic, retry=None, timeout=ANSWER_S)
            except exceptions.PermissionDenied:
                return
            except Exception as error:
                raise job_error("output.topic", self.topic, error) from error

    def open(self) -> Topic:
        """See `TopicSettings.open`."""
        return PubSubTopic(self)


class PubSubTopic:
    """One open topic. See `Topic`; the library tries again for ten minutes."""

    def __init__(self, settings: PubSubTopicSettings) -> None:
        from google.cloud.pubsub_v1.types import LimitExceededBehavior, PublisherOptions, PublishFlowControl

        limits = PublishFlowControl(OUT_MESSAGES, OUT_BYTES, LimitExceededBehavior.BLOCK)
        self._topic = settings.topic
        self._publisher = client("PublisherClient", publisher_options=PublisherOptions(flow_control=limits))
        self._out: deque[tuple[OutgoingMessage, Any]] = deque()
        self._refused: list[Refused] = []

    def send(self, message: OutgoingMessage) -> None:
        """See `Topic.send`."""
        from google.cloud.pubsub_v1.publisher.exceptions import MessageTooLargeError

        try:
            self._out.append((message, self._publisher.publish(self._topic, message.data, **_attributes(message))))
        except MessageTooLargeError as error:
            self._refused.append(Refused(message, str(error)))
        while self._out and self._out[0][1].done() and self._out[0][1].exception() is None:
            self._out.popleft()

    def wait(self) -> Sequence[Refused]:
        """See `Topic.wait`. Messages travel together, and one that is refused takes its neighbours along."""
        from google.api_core.exceptions import InvalidArgument

        while self._out:
            message, future = self._out[0]
            try:
                future.result()
            except InvalidArgument:
                self._send_alone(message)
            self._out.popleft()
        refused, self._refused = self._refused, []
        return refused

    def close(self) -> None:
        """See `Topic.close`."""
        self._publisher.stop()

    def _send_alone(self, message: OutgoingMessage) -> None:
        from google.api_core.exceptions import InvalidArgument
        from google.pubsub_v1 import PublisherClient

        request = {"topic": self._topic, "messages": [{"data": message.data, "attributes": _attributes(message)}]}
        try:
            PublisherClient.publish(self._publisher, request=request)
        except InvalidArgument as error:
            self._refused.append(Refused(message, str(error)))


def _attributes(message: OutgoingMessage) -> dict[str, str]:
    """Those that Pub/Sub takes; the others are in the row."""
    fitting = {
        name: value
        for name, value in message.all_attributes().items()
        if name
        and not name.startswith(RESERVED)
        and name not in PARAMETERS
        and len(name.encode()) <= MAX_NAME_BYTES
        and len(value.encode()) <= MAX_VALUE_BYTES
    }
    return dict(list(fitting.items())[-MAX_ATTRIBUTES:])  # ours are the last ones
