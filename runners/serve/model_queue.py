"""ModelQueue: records of many requests that wait for the model, and go through it together.

There is no timer: what queued while the model was busy is the next batch, one record at low load, many at high load.
Records with attachments and very long texts are classified by threads of their own and hold up nobody.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from classer_core.records import Outcome, Record
from runners.serve.errors import ApiError, unavailable

log = logging.getLogger(__name__)

# How long a batch may keep later records waiting: fast ones among them, or expected, or neither.
FAST_BATCH_S, STANDARD_BATCH_S = 0.06, 0.3
FAST_EXPECTED_S = 60.0
# A standard record that has waited so long goes before fast ones.
STANDARD_WAIT_S = 0.5
# The model computes so many tokens at once: fewer in a batch gain no time.
MIN_BATCH_TOKENS = 384
MAX_BATCH_RECORDS = 1_024
FIRST_GUESS_TOKENS_PER_S = 5_000.0
GROWTH, FALL = 1.5, 0.5
BYTES_PER_TOKEN = 4
RECORD_TOKENS = 4
ATTACHMENT_TOKENS = 2_000
# Texts above this, and attachments, are classified aside.
ASIDE_TOKENS = 16_000
ASIDE_THREADS = 2
MAX_WAITING_TOKENS = 200_000
MAX_WAITING_RECORDS = 20_000
MAX_RETRY_AFTER_S = 60


class BatchObserver(Protocol):
    """What is told of every batch."""

    def batch(self, records: int, tokens: int, seconds: float) -> None:
        """Count a batch."""

    def dropped(self, records: int) -> None:
        """Count records whose client had gone."""


@dataclass(slots=True, eq=False)
class Waiting:
    """One record in the queue. Its future belongs to the event loop."""

    record: Record
    future: asyncio.Future[Outcome]
    tokens: int
    arrived_at: float = field(default_factory=time.monotonic)


class ModelQueue:
    """Classifies records in threads, for requests of an event loop.

    Args:
        classify: classifies records together; one outcome each, in the same order.
        observer: is told of every batch.
        max_tokens: estimated tokens that may wait before more are refused.
    """

    def __init__(
        self,
        classify: Callable[[Sequence[Record]], Sequence[Outcome]],
        observer: BatchObserver,
        max_tokens: int = MAX_WAITING_TOKENS,
    ) -> None:
        self._classify = classify
        self._observer = observer
        self._max_tokens = max_tokens
        self._changed = threading.Condition()
        self._fast: deque[Waiting] = deque()
        self._standard: deque[Waiting] = deque()
        self._aside: deque[Waiting] = deque()
        self._waiting_tokens = 0
        self._tokens_per_s = FIRST_GUESS_TOKENS_PER_S
        self._fast_seen_at = -math.inf
        self._last_was_fast = False
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._run, args=(self._take,), name="model", daemon=True),
            *(
                threading.Thread(target=self._run, args=(self._take_aside,), name=f"model-aside-{n}", daemon=True)
                for n in range(ASIDE_THREADS)
            ),
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, records: Sequence[Record]) -> list[asyncio.Future[Outcome]]:
        """Queue records; a future that is cancelled takes its record out.

        Raises:
            ApiError: 503; too much waits already, or the server is closing.
        """
        loop = asyncio.get_running_loop()
        entries = [Waiting(record, loop.create_future(), estimated_tokens(record)) for record in records]
        with self._changed:
            if self._is_closed:
                raise unavailable("The server is shutting down", 1)
            if self._is_full():
                raise self._refusal()
            for entry in entries:
                self._lane(entry).append(entry)
                self._waiting_tokens += entry.tokens
            self._changed.notify_all()
        return [entry.future for entry in entries]

    def state(self) -> tuple[int, int, float]:
        """Return how many records wait, their estimated tokens, and the age of the oldest in seconds."""
        with self._changed:
            lanes = [lane for lane in (self._fast, self._standard, self._aside) if lane]
            records = sum(map(len, lanes))
            oldest = min((lane[0].arrived_at for lane in lanes), default=time.monotonic())
            return records, self._waiting_tokens, time.monotonic() - oldest

    def close(self) -> None:
        """Classify what waits, and end the threads."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _is_full(self) -> bool:
        """Whether nothing more is taken; one request may go over the limit, so that a large one is taken at all."""
        waiting = len(self._fast) + len(self._standard) + len(self._aside)
        return self._waiting_tokens >= self._max_tokens or waiting >= MAX_WAITING_RECORDS

    def _refusal(self) -> ApiError:
        wait_s = math.ceil(self._waiting_tokens / self._tokens_per_s)
        return unavailable("Too many requests wait for the model", min(max(wait_s, 1), MAX_RETRY_AFTER_S))

    def _lane(self, entry: Waiting) -> deque[Waiting]:
        if entry.record.attachments or entry.tokens > ASIDE_TOKENS:
            return self._aside
        if entry.record.priority == "fast":
            self._fast_seen_at = entry.arrived_at
            return self._fast
        return self._standard

    def _run(self, take: Callable[[], list[Waiting]]) -> None:
        while True:
            with self._changed:
                batch = take()
                while not batch:
                    if self._is_closed:
                        return
                    self._changed.wait()
                    batch = take()
            self._answer(batch)

    def _answer(self, batch: list[Waiting]) -> None:
        tokens = sum(entry.tokens for entry in batch)
        start = time.perf_counter()
        outcomes: Sequence[Outcome] | Exception
        try:
            outcomes = self._classify([entry.record for entry in batch])
        except Exception as error:  # the requests of this batch are told, and the next batch is tried
            log.exception("a batch of %d records failed", len(batch))
            outcomes = error
        seconds = time.perf_counter() - start
        self._observer.batch(len(batch), tokens, seconds)
        if not isinstance(outcomes, Exception) and not batch[0].record.attachments:
            self._measure(sum(e.tokens for e, o in zip(batch, outcomes, strict=True) if not _is_cached(o)), seconds)
        loop = batch[0].future.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, batch, outcomes)

    def _measure(self, tokens: int, seconds: float) -> None:
        if tokens < MIN_BATCH_TOKENS // 4:  # says more about the cost of a batch than about the model
            return
        rate = tokens / max(seconds, 1e-6)
        with self._changed:
            if rate > self._tokens_per_s:
                self._tokens_per_s = min(rate, self._tokens_per_s * GROWTH)
            else:
                self._tokens_per_s += (rate - self._tokens_per_s) * FALL

    def _take(self) -> list[Waiting]:
        """Return the next batch, without records whose client has gone; empty if none wait."""
        now = time.monotonic()
        self._drop_gone(self._fast)
        self._drop_gone(self._standard)
        overdue = bool(self._standard) and now - self._standard[0].arrived_at > STANDARD_WAIT_S
        is_fast = bool(self._fast) and not (overdue and self._last_was_fast)
        lane = self._fast if is_fast else self._standard
        self._last_was_fast = is_fast
        is_short = is_fast or now - self._fast_seen_at < FAST_EXPECTED_S
        budget = max(MIN_BATCH_TOKENS, self._tokens_per_s * (FAST_BATCH_S if is_short else STANDARD_BATCH_S))
        batch: list[Waiting] = []
        while lane and len(batch) < MAX_BATCH_RECORDS:
            if batch and lane[0].tokens > budget:
                break
            entry = lane.popleft()
            self._waiting_tokens -= entry.tokens
            if entry.future.cancelled():
                self._observer.dropped(1)
                continue
            budget -= entry.tokens
            batch.append(entry)
        return batch

    def _take_aside(self) -> list[Waiting]:
        self._drop_gone(self._aside)
        if not self._aside:
            return []
        entry = self._aside.popleft()
        self._waiting_tokens -= entry.tokens
        return [entry]

    def _drop_gone(self, lane: deque[Waiting]) -> None:
        """Take records off the front whose client has gone."""
        while lane and lane[0].future.cancelled():
            self._waiting_tokens -= lane.popleft().tokens
            self._observer.dropped(1)


def estimated_tokens(record: Record) -> int:
    """Return about how many tokens the model will read; counting them would be part of the work itself."""
    size = len(record.text) if record.text.isascii() else len(record.text.encode())
    return RECORD_TOKENS + size // BYTES_PER_TOKEN + ATTACHMENT_TOKENS * len(record.attachments)


def _is_cached(outcome: Outcome) -> bool:
    return getattr(outcome, "cached", False)


def _resolve(batch: Sequence[Waiting], outcomes: Sequence[Outcome] | Exception) -> None:
    """Hand outcomes to the requests that wait; runs on the event loop."""
    for position, entry in enumerate(batch):
        if entry.future.done():
            continue
        if isinstance(outcomes, Exception):
            entry.future.set_exception(outcomes)
        else:
            entry.future.set_result(outcomes[position])
