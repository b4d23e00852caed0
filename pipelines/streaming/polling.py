"""Poller: a queue in a thread of its own. It fills the lanes, and acknowledges what has been written."""

from __future__ import annotations

import logging
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from pipelines.queues import Message, Queue
from pipelines.streaming.lanes import Lanes
from pipelines.streaming.parsing import Entry
from pipelines.streaming.preparation import Preparation, is_slow
from pipelines.streaming.stopping import has_end, is_stopping, note_end

log = logging.getLogger(__name__)

# What a reader holds; a queue that has more keeps it.
BUFFER_RECORDS = 4_096
BUFFER_BYTES = 64 << 20
POLL_RECORDS = 1_024
FIRST_POLL_RECORDS = 64
POLL_S = 0.1
LOOK_S = 0.05  # how soon a stop is seen
# A closed reader waits so long for the runner to say that its last bundles are written.
LINGER_S = 60.0
ACKNOWLEDGE_S = 30.0

_pollers: weakref.WeakValueDictionary[str, Poller] = weakref.WeakValueDictionary()


class Poller:
    """Runs one queue. Its lanes are read by one other thread.

    Args:
        open_queue: opens the queue at a position; called in the poller's thread.
        position: where to begin.
        parse: messages in, entries out.
        preparation: makes what prepares slow entries.
        stop_when_idle_s: ends after nothing has come for so long.
    """

    def __init__(
        self,
        open_queue: Callable[[Any], Queue],
        position: Any,
        parse: Callable[[Sequence[Message]], list[Entry]],
        preparation: Callable[[Callable[[Entry], None], Callable[[BaseException], None]], Preparation],
        stop_when_idle_s: float | None = None,
    ) -> None:
        self.name = uuid.uuid4().hex
        self._open_queue = open_queue
        self._position = position
        self._parse = parse
        self._stop_when_idle_s = stop_when_idle_s
        self._changed = threading.Condition()
        self._lanes = Lanes()
        self._preparation = preparation(self._prepared, self._fail)
        self._preparing: dict[int, Entry] = {}
        self._emitted: list[Any] = []  # since the last mark
        self._marks: dict[int, list[Any]] = {}
        self._last_mark = 0
        self._written: list[Any] = []
        self._mean_bytes = float(BUFFER_BYTES) / FIRST_POLL_RECORDS
        self._active_at = time.monotonic()
        self._closing = self._is_closed = self._has_ended = False
        self._error: BaseException | None = None
        self._queue: Queue | None = None
        self._thread = threading.Thread(target=self._run, name="poll", daemon=True)
        _pollers[self.name] = self

    def start(self) -> None:
        """Begins to poll."""
        self._thread.start()

    def take(self, timeout_s: float) -> list[Entry]:
        """The next chunk's entries; none if none came in time, or the stream ends.

        Raises:
            Exception: of the queue, the parser or the models: no record is at fault.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                if self.is_ended:
                    self._has_ended = self._has_ended or not self._closing
                    return []
                if entries := self._lanes.take():
                    self._active_at = time.monotonic()
                    self._emitted += [entry.receipt for entry in entries]
                    self._changed.notify_all()
                    return entries
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return []
                self._changed.wait(min(left_s, LOOK_S))

    def measure(self, entries: Sequence[Entry], seconds: float) -> None:
        """How long the entries last taken took."""
        with self._changed:
            self._lanes.measure(entries, seconds)

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will be taken."""
        if is_stopping() or self._closing:
            return True
        if self._stop_when_idle_s is None or self._lanes.records or self._preparing or self._queue is None:
            return False
        return time.monotonic() - self._active_at >= self._stop_when_idle_s

    def mark(self) -> tuple[int, Any]:
        """A number for all that was taken since the last mark, and the position after it."""
        with self._changed:
            emitted, self._emitted = self._emitted, []
            self._last_mark += 1
            if emitted:
                self._marks[self._last_mark] = emitted
            if self._queue is not None:
                self._position = self._queue.position(emitted)
            return self._last_mark, self._position

    def written(self, number: int) -> None:
        """The rows of this mark, and of those before it, are durable. Once the poller closes, waits for the queue."""
        with self._changed:
            for earlier in [mark for mark in self._marks if mark <= number]:
                self._written += self._marks.pop(earlier)
            self._changed.notify_all()
            if self._closing and self._written:
                self._changed.wait_for(lambda: not self._written or self._is_closed, ACKNOWLEDGE_S)

    @property
    def is_between_bundles(self) -> bool:
        """Whether all that was taken is marked, so that another bundle may go on from here."""
        with self._changed:
            return not (self._emitted or self._closing or self._error)

    @property
    def last_mark(self) -> int:
        """The number of the newest mark; 0 before the first one."""
        return self._last_mark

    def close(self) -> None:
        """Takes nothing more; what was not taken is given back, what is marked waits for `written`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def join(self, timeout_s: float) -> None:
        """Waits until the queue is closed."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            queue = self._open_queue(self._position)
        except BaseException as error:
            self._fail(error)
            return
        try:
            with self._changed:
                self._queue, self._active_at = queue, time.monotonic()
            while not self._closing:
                self._acknowledge(queue)
                limit = self._room()
                if limit:
                    self._receive(queue.poll(POLL_S, limit))
                else:
                    queue.poll(0, 0)
                    with self._changed:
                        self._changed.wait_for(lambda: self._closing or self._written or self._room(), 1.0)
            try:
                self._wind_up(queue)
            except Exception:  # nobody takes any more, and so nobody would hear of it
                log.exception("reader %s closes with an error: some of its messages may come again", self.name)
        except BaseException as error:
            self._fail(error)
        finally:
            self._preparation.close()
            queue.close()
            with self._changed:
                self._is_closed = True
                self._changed.notify_all()
            if self._has_ended and self._error is None:
                note_end()

    def _room(self) -> int:
        """How many messages may be taken now."""
        if is_stopping() or len(self._preparing) >= BUFFER_RECORDS:
            return 0
        held = self._lanes.bytes + sum(entry.size_bytes for entry in list(self._preparing.values()))
        by_size = (BUFFER_BYTES - held) / self._mean_bytes
        by_count = BUFFER_RECORDS - self._lanes.records
        if by_size <= 0 or by_count <= 0:
            return 0
        return max(1, min(int(by_size), by_count, POLL_RECORDS))

    def _receive(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        mean = sum(message.size_bytes for message in messages) / len(messages)
        self._mean_bytes = max(mean, (self._mean_bytes + mean) / 2, 1.0)
        entries = self._parse(messages)
        slow = [entry for entry in entries if is_slow(entry)]
        with self._changed:
            self._active_at = time.monotonic()
            self._preparing.update((id(entry), entry) for entry in slow)
            self._lanes.put(entry for entry in entries if id(entry) not in self._preparing)
            self._changed.notify_all()
        for entry in slow:
            self._preparation.submit(entry)

    def _prepared(self, entry: Entry) -> None:
        with self._changed:
            if not entry.is_fast:  # what documents weigh is known only now
                self._changed.wait_for(lambda: self._closing or self._error or self._lanes.bytes < BUFFER_BYTES)
            if self._preparing.pop(id(entry), None) is not None:
                self._active_at = time.monotonic()
                self._lanes.put([entry], first=True)
                self._changed.notify_all()

    def _acknowledge(self, queue: Queue) -> None:
        with self._changed:
            receipts = list(self._written)
        if receipts:
            queue.acknowledge(receipts)
            with self._changed:
                del self._written[: len(receipts)]
                self._changed.notify_all()

    def _wind_up(self, queue: Queue) -> None:
        with self._changed:
            left = [entry.receipt for entry in [*self._lanes.clear(), *self._preparing.values()]]
            left += self._emitted  # of a bundle that failed
            self._preparing, self._emitted = {}, []
        queue.give_back(left)
        deadline = time.monotonic() + LINGER_S
        while (self._marks or self._written) and time.monotonic() < deadline:
            self._acknowledge(queue)
            queue.poll(0, 0)
            with self._changed:
                self._changed.wait_for(lambda: self._written or not self._marks, 1.0)
        self._acknowledge(queue)

    def _fail(self, error: BaseException) -> None:
        log.debug("reader %s fails", self.name, exc_info=error)
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()


def poller(name: str) -> Poller | None:
    """The poller of this name, if it runs in this process."""
    return _pollers.get(name)


def are_over() -> bool:
    """Whether the streams of this process have come to their end, and all that they wrote is acknowledged."""
    return has_end() and all(each._is_closed for each in list(_pollers.values()))


def join_all(timeout_s: float) -> None:
    """Waits until all queues of this process that are to be closed are closed."""
    deadline = time.monotonic() + timeout_s
    for each in list(_pollers.values()):
        if each._closing:
            each.join(max(0.0, deadline - time.monotonic()))
