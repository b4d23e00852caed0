"""Which messages of one Kafka partition are out, emitted and acknowledged, in whatever order that happens."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple


class Reached(NamedTuple):
    """All messages before `next`, and the later ones in `beyond`."""

    next: int
    beyond: frozenset[int] = frozenset()


class Progress:
    """Messages done out of order: how far they are done without a gap, and what is done beyond that."""

    def __init__(self, reached: Reached) -> None:
        self.next = reached.next
        self._order: list[int] = []  # delivered and not part of the gapless beginning yet, as a queue
        self._head = 0
        self._done = set(reached.beyond)

    def deliver(self, offset: int) -> None:
        """The next message; offsets only grow, and may leave gaps (of compacted topics and transactions)."""
        self._order.append(offset)

    def finish(self, offsets: Iterable[int]) -> bool:
        """Marks messages as done. Whether `next` has moved."""
        self._done.update(offset for offset in offsets if offset >= self.next)
        before = self.next
        while self._head < len(self._order) and self._order[self._head] in self._done:
            self._done.discard(self._order[self._head])
            self.next = self._order[self._head] + 1
            self._head += 1
        if self._head > len(self._order) // 2:
            del self._order[: self._head]
            self._head = 0
        return self.next > before

    @property
    def reached(self) -> Reached:
        """The messages that are done."""
        return Reached(self.next, frozenset(self._done))


class PartitionOffsets:
    """The progress of the messages of a partition.

    Args:
        start: what an earlier queue has emitted; the first message that is delivered is the first one beyond that.
    """

    def __init__(self, start: Reached) -> None:
        self._emitted_before = set(start.beyond)
        self._acknowledged = Progress(start)
        self._emitted = Progress(start)
        self._fetched = start.next  # the first offset that nothing was fetched from yet
        self._again: set[int] = set()
        self._fetching_again = False

    def is_restarted(self, offset: int) -> bool:
        """Whether a fetched message shows that the log begins anew: somebody has replaced the topic."""
        return offset < self._fetched and not self._fetching_again

    def is_due(self, offset: int) -> bool:
        """Whether a fetched message is to be delivered: for the first time, or after it was given back."""
        if offset < self._fetched:
            self._fetching_again = offset < self._fetched - 1
            again = offset in self._again
            self._again.discard(offset)
            return again
        self._fetched = offset + 1
        self._fetching_again = False
        self._acknowledged.deliver(offset)
        self._emitted.deliver(offset)
        if offset in self._emitted_before:
            self._emitted_before.discard(offset)
            self._acknowledged.finish([])
            self._emitted.finish([])
            return False
        return True

    def acknowledge(self, offsets: Iterable[int]) -> bool:
        """Their rows are written. Whether there is something to commit."""
        return self._acknowledged.finish(offsets)

    def emit(self, offsets: Iterable[int]) -> Reached:
        """They are on their way. Where to go on once all that were emitted are safe."""
        self._emitted.finish(offsets)
        return self._emitted.reached

    def give_back(self, offsets: Collection[int]) -> int:
        """They are to be delivered again. The offset to fetch from."""
        self._again.update(offsets)
        self._fetching_again = True
        return min(self._again)

    @property
    def to_commit(self) -> int:
        """The first offset that is not acknowledged."""
        return self._acknowledged.next
