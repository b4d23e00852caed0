"""A queue in this process: what it is told to hold, with redelivery of what is not acknowledged."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from pipelines.queues import Message

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
_servers: dict[str, Server] = {}


class Server:
    """Messages, and where each of them is."""

    def __init__(self, name: str) -> None:
        self.changed = threading.Condition()
        self.waiting: deque[Message] = deque()
        self.out: dict[int, Message] = {}
        self.acknowledged: list[int] = []
        self.given_back: list[int] = []
        self.published = 0
        self.polls = 0
        _servers[name] = self

    def publish(self, *bodies: Any, at: datetime = NOON, **more: Any) -> None:
        """Adds messages m0, m1, ...; what is no bytes becomes JSON."""
        with self.changed:
            for body in bodies:
                data = body if isinstance(body, bytes) else orjson.dumps(body)
                self.waiting.append(Message(f"m{self.published}", data, at, self.published, **more))
                self.published += 1
            self.changed.notify_all()


@dataclass(frozen=True)
class MemoryQueueSettings:
    """Opens the server of this name."""

    name: str
    bundle_records: int = 10_000

    def check(self) -> None:
        """It is there."""

    def open(self, position: Any) -> MemoryQueue:
        """See `QueueSettings.open`."""
        return MemoryQueue(_servers[self.name])

    def split(self, parts: int) -> Sequence[MemoryQueueSettings]:
        """See `QueueSettings.split`."""
        return [self]


class MemoryQueue:
    """See `Queue`. A connection that is closed gives everything back."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._mine: set[int] = set()

    def poll(self, timeout_s: float, limit: int) -> list[Message]:
        server = self._server
        with server.changed:
            server.polls += 1
            if not server.waiting and limit:
                server.changed.wait(timeout_s)
            found = [server.waiting.popleft() for _ in range(min(limit, len(server.waiting)))]
            server.out.update((message.receipt, message) for message in found)
            self._mine.update(message.receipt for message in found)
            return found

    def acknowledge(self, receipts: Sequence[int]) -> None:
        for receipt in receipts:
            self._server.acknowledged.append(receipt)
            self._server.out.pop(receipt, None)

    def give_back(self, receipts: Sequence[int]) -> None:
        with self._server.changed:
            for receipt in receipts:
                if (message := self._server.out.pop(receipt, None)) is not None:
                    self._server.given_back.append(receipt)
                    self._server.waiting.append(message)

    def position(self, emitted: Collection[int]) -> Any:
        return None

    def close(self) -> None:
        self.give_back(list(self._mine))
