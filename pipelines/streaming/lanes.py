"""Lanes: entries that wait to be classified, fast ones before standard ones, and how much of them goes next.

What has come while the model was busy is the next chunk: one record at low load, many at high load, without any timer.
Where fast records occur, a chunk is so small that one that comes meanwhile waits little.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from classer_core.records import Record
from pipelines.chunks import CHUNK_BYTES, CHUNK_ROWS
from pipelines.streaming.parsing import Entry

# How long a chunk may keep others waiting, with and without fast records among them; and for how long after the last
# fast record the next one is expected.
SHORT_CHUNK_S, LONG_CHUNK_S = 0.1, 0.5
FAST_EXPECTED_S = 60.0
# A standard record that has waited so long is let in between fast ones.
STANDARD_WAIT_S = 0.5
# Characters, as a measure of the model's work. A chunk has a cost of its own, about that of so many characters: however
# slow it gets, a chunk holds so many, and one with fewer says nothing about the model.
CHUNK_CHARS = 2_000
RECORD_CHARS = 20
FIRST_GUESS_CHARS_PER_S = 50_000.0
# A chunk of cached answers says little about the next one: estimates grow slowly and fall fast.
GROWTH, FALL = 1.5, 0.5


class Lanes:
    """Waiting entries. Not thread-safe.

    All entries of a chunk are of one hour of event time, for the sinks that partition by it.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._fast: _Lane = {}
        self._standard: _Lane = {}
        self._records = self._bytes = 0
        self._chars_per_s = FIRST_GUESS_CHARS_PER_S
        self._fast_seen_at = -FAST_EXPECTED_S
        self._last_was_fast = False

    @property
    def records(self) -> int:
        """How many wait."""
        return self._records

    @property
    def bytes(self) -> int:
        """How large they are."""
        return self._bytes

    def put(self, entries: Iterable[Entry], first: bool = False) -> None:
        """Adds entries, at the end or at the front."""
        for entry in entries:
            lane = self._fast if entry.is_fast else self._standard
            waiting = lane.setdefault(_hour(entry.published_at), deque())
            (waiting.appendleft if first else waiting.append)(entry)
            self._records += 1
            self._bytes += entry.size_bytes
            if isinstance(entry.outcome, Record) and entry.is_fast:
                self._fast_seen_at = self._now()

    def take(self) -> list[Entry]:
        """The next chunk's entries; none if none wait."""
        standard = _oldest(self._standard)
        overdue = standard is not None and self._now() - standard.arrived_at > STANDARD_WAIT_S
        fast = bool(self._fast) and not (self._last_was_fast and overdue)
        lane = self._fast if fast else self._standard
        if not lane:
            return []
        self._last_was_fast = fast
        hour = min(lane, key=lambda hour: lane[hour][0].arrived_at)
        waiting = lane[hour]
        short = fast or self._now() - self._fast_seen_at < FAST_EXPECTED_S
        chars = self._chars_per_s * (SHORT_CHUNK_S if short else LONG_CHUNK_S)
        taken = _next(waiting, max(CHUNK_CHARS, chars))
        if not waiting:
            del lane[hour]
        self._records -= len(taken)
        self._bytes -= sum(entry.size_bytes for entry in taken)
        return taken

    def measure(self, entries: Sequence[Entry], seconds: float) -> None:
        """How long a chunk took from being taken to being written."""
        chars = sum(_chars(entry) for entry in entries)
        if not chars:
            return
        rate = max(CHUNK_CHARS, chars) / max(seconds, 1e-6)
        if rate > self._chars_per_s:
            self._chars_per_s = min(rate, self._chars_per_s * GROWTH)
        else:
            self._chars_per_s += (rate - self._chars_per_s) * FALL

    def clear(self) -> list[Entry]:
        """All that wait, in no order; none do then."""
        left = [entry for lane in (self._fast, self._standard) for waiting in lane.values() for entry in waiting]
        self._fast, self._standard = {}, {}
        self._records = self._bytes = 0
        return left


_Lane = dict[datetime, deque[Entry]]


def _next(waiting: deque[Entry], chars: float) -> list[Entry]:
    """Take the oldest entries, at least one, as many as make up so many characters and fit into a chunk."""
    taken: list[Entry] = []
    size = 0
    while waiting and len(taken) < CHUNK_ROWS:
        entry = waiting[0]
        chars -= _chars(entry)
        size += entry.size_bytes
        if taken and (chars < 0 or size > CHUNK_BYTES):
            break
        taken.append(waiting.popleft())
    return taken


def _chars(entry: Entry) -> int:
    """Return the cost of an entry in characters; the model has nothing to read of prepared and failed ones."""
    if isinstance(entry.outcome, Record) and entry.known is None:
        return len(entry.outcome.text) + RECORD_CHARS
    return 0


def _oldest(lane: _Lane) -> Entry | None:
    return min((waiting[0] for waiting in lane.values()), key=lambda entry: entry.arrived_at, default=None)


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
