"""Topics: messages out. They know servers, and nothing of Beam.

settings (picklable, travels to the worker) --open--> Topic --send, send, ... wait--> what the server has refused
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol


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
    """The settings that open a topic: picklable, and without secrets."""

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
