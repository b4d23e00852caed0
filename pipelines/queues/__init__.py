"""Queues: messages in, receipts back when their rows are durably written. They know servers, and nothing of Beam.

settings (picklable, travels to the worker) --open--> Queue --poll--> Messages --acknowledge / give_back--> Queue
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

# How long a queue may hear nothing of its reader, which calls `poll` at least this often, also when it takes no more.
KEEP_ALIVE_S = 5.0


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came.

    Args:
        id: what stays the same when the message is delivered again; the record's id if it has none of its own.
        data: the body.
        published_at: event time, in UTC.
        receipt: what `acknowledge`, `give_back` and `position` know the message by; hashable and picklable.
        key: of Kafka, or the ordering key of Pub/Sub.
        attributes: of Pub/Sub, or headers of Kafka; values that are not UTF-8 come with their bytes escaped.
    """

    id: str
    data: bytes
    published_at: datetime
    receipt: Any
    key: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """About what it takes."""
        headers = sum(len(name) + len(value) for name, value in self.attributes.items())
        return len(self.data) + len(self.key or "") + headers


class Queue(Protocol):
    """One open connection of one reader. One thread calls everything but `position`, which may come from another one.

    Trouble that may pass (a server that restarts) is the queue's own business: it logs it, waits and goes on. What is
    wrong for good (no such topic, no permission) raises a JobError, and the job ends.
    """

    def poll(self, timeout_s: float, limit: int) -> list[Message]:
        """Return the messages that have come, at most `limit`, as soon as there are any; [] after `timeout_s`.

        It is called at least every `KEEP_ALIVE_S`, with a limit of 0 while the reader's buffer is full, and keeps
        messages that are out from being delivered again as long as that goes on.
        """

    def acknowledge(self, receipts: Sequence[Any]) -> None:
        """Their rows are durably written: never deliver these again. An order is not to be expected."""

    def give_back(self, receipts: Sequence[Any]) -> None:
        """They were not processed: deliver them again soon, to anybody."""

    def position(self, emitted: Collection[Any]) -> Any:
        """Where to go on once these receipts, and all those of earlier calls, are emitted; picklable.

        It becomes part of a checkpoint, from which `QueueSettings.open` resumes: what is emitted is not delivered
        again by the queue that it opens, all else is. None where the server keeps what is not acknowledged.
        """

    def close(self) -> None:
        """Lets go of the connection; what is out and not acknowledged is delivered again."""


class QueueSettings(Protocol):
    """The settings that open a queue: picklable, and without secrets, which are read where it is opened."""

    @property
    def bundle_records(self) -> int:
        """After so many messages a bundle is ended and acknowledged: what a server lets be out at once bounds it."""

    def check(self) -> None:
        """Makes sure, before a job starts, that there is something to open.

        Raises:
            JobError: there is not, or no permission, or no answer.
        """

    def open(self, position: Any) -> Queue:
        """A connection; `position` is of an earlier queue of the same settings, or None.

        Raises:
            JobError: there is no such thing, or no permission, or the client library is not installed.
        """

    def split(self, parts: int) -> Sequence[QueueSettings]:
        """At most so many settings that share the messages; Kafka's partitions, for instance. At least one."""
