"""Answering: records of one request in, their outcomes out, by way of the cache, the limits and the model's queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from classer_core.cache.memory import MemoryCache
from classer_core.cached import CachedEngine
from classer_core.engine import outcome_of
from classer_core.errors import RecordError
from classer_core.fetching import Fetcher
from classer_core.fetching.attached import fetch_attachments
from classer_core.records import Answer, Failure, Outcome, Record, Result
from runners.serve.errors import internal, of_record, unavailable
from runners.serve.keys import Key
from runners.serve.limits import RateLimiter
from runners.serve.metrics import Metrics
from runners.serve.model_queue import ModelQueue
from runners.serve.wire import tokens_read

T = TypeVar("T")

FETCH_THREADS = 16
# Requests whose attachments are being fetched or decoded; more are refused.
MAX_FETCHING = 64
LOOKUP_THREADS = 4
# Requests with more content than this are hashed by a thread: the event loop goes on meanwhile.
HASHED_ASIDE_CHARS = 256 << 10


class ClientGoneError(Exception):
    """The client has closed its connection; nobody is there to be answered."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An outcome, and for how many seconds this server has known the answer; None if it was not cached."""

    outcome: Outcome
    age_s: int | None


class Answering:
    """Answers requests on one event loop.

    Args:
        engine: classifies, behind its cache.
        queue: what waits for the engine.
        fetcher: gets attachments from URLs.
        limiter: what each key may use.
        metrics: counts answers and failures.
        is_cache_shared: whether the engine's cache is more than its memory.
    """

    def __init__(
        self,
        engine: CachedEngine,
        queue: ModelQueue,
        fetcher: Fetcher,
        limiter: RateLimiter,
        metrics: Metrics,
        is_cache_shared: bool,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._fetcher = fetcher
        self._limiter = limiter
        self._metrics = metrics
        self._is_cache_shared = is_cache_shared
        self._ages = _Ages()
        self._fetching = 0
        self._fetch_threads = ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="attachments")
        self._lookup_threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")

    async def answer(self, records: Sequence[Record], key: Key, gone: Callable[[], Awaitable[None]]) -> list[Answered]:
        """Return one outcome per record, in the same order. Cached answers count against no limit.

        Args:
            records: of one request.
            key: whose limits hold.
            gone: returns when the client has closed its connection.

        Raises:
            ApiError: 422 attachments can't be had, 429 a limit of the key, 500 the model fails, 503 too much waits.
            ClientGoneError: the client has gone, and its records are out of the queue.
        """
        if any(record.attachments for record in records):
            await self._fetch(records)
        prints = await self._fingerprints(records)
        known = await self._recall(dict(zip(prints, records, strict=True)))
        missed = [n for n, record in enumerate(records) if not record.cache or prints[n] not in known]
        read: dict[int, Outcome] = {}
        if missed:
            with self._limiter.admitted(key):
                found = await self._classify([records[n] for n in missed], gone)
            read = dict(zip(missed, found, strict=True))
        answered = [
            self._answered(record, prints[n], read[n] if n in read else known[prints[n]])
            for n, record in enumerate(records)
        ]
        self._count([item.outcome for item in answered], key)
        return answered

    def close(self) -> None:
        """End threads and connections; requests must have ended."""
        self._fetcher.close()
        self._fetch_threads.shutdown()
        self._lookup_threads.shutdown()

    async def _fetch(self, records: Sequence[Record]) -> None:
        if self._fetching >= MAX_FETCHING:
            raise unavailable("Too many images and files are being fetched", 2)
        self._fetching += 1
        try:
            await _in_thread(self._fetch_threads, partial(fetch_attachments, self._fetcher, records))
        except RecordError as error:
            self._metrics.failure(error.code)
            raise of_record(error) from error
        finally:
            self._fetching -= 1

    async def _fingerprints(self, records: Sequence[Record]) -> list[bytes]:
        is_small = not any(record.attachments for record in records)
        if is_small and sum(len(record.text) for record in records) < HASHED_ASIDE_CHARS:
            return self._engine.fingerprints(records)
        return await _in_thread(self._lookup_threads, partial(self._engine.fingerprints, records))

    async def _recall(self, records: dict[bytes, Record]) -> dict[bytes, Answer | Failure]:
        wanted = {fingerprint: record for fingerprint, record in records.items() if record.cache}
        known = self._engine.recall(wanted, in_memory=True)
        missing = {fingerprint: record for fingerprint, record in wanted.items() if fingerprint not in known}
        if missing and self._is_cache_shared:
            known |= await _in_thread(self._lookup_threads, partial(self._engine.recall, missing))
        return known

    async def _classify(self, records: Sequence[Record], gone: Callable[[], Awaitable[None]]) -> list[Outcome]:
        outcomes = asyncio.gather(*self._queue.submit(records))
        # Nobody waits for the answers of a client that has gone; asyncio would report their exception.
        outcomes.add_done_callback(lambda done: done.cancelled() or done.exception())
        watcher = asyncio.ensure_future(gone())
        try:
            waited: set[asyncio.Future[Any]] = {outcomes, watcher}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not outcomes.done():
                raise ClientGoneError
            return outcomes.result()
        except ClientGoneError:
            raise
        except Exception as error:  # the queue has logged it
            raise internal() from error
        finally:
            watcher.cancel()
            outcomes.cancel()

    def _answered(self, record: Record, fingerprint: bytes, found: Outcome | Answer) -> Answered:
        if isinstance(found, Answer):
            found = outcome_of(record, found, fingerprint, 0.0, cached=True)
        is_cached = isinstance(found, Result) and found.cached
        age_s = self._ages.of(fingerprint, is_cached)
        return Answered(found, age_s if is_cached else None)

    def _count(self, outcomes: Sequence[Outcome], key: Key) -> None:
        results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
        hits = sum(result.cached for result in results)
        tokens = tokens_read(outcomes)
        self._metrics.answers(hits, len(results) - hits, tokens)
        self._limiter.add_tokens(key, tokens)
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                self._metrics.failure(outcome.code)


class _Ages:
    """Since when this server knows an answer: caches do not tell when an entry was made."""

    def __init__(self) -> None:
        self._since = MemoryCache()

    def of(self, fingerprint: bytes, is_cached: bool) -> int:
        """Return the age in whole seconds; an answer that was made now, or is new to this server, is 0 old."""
        now = int(time.monotonic())
        since = self._since.get([fingerprint]).get(fingerprint) if is_cached else None
        if since is None:
            self._since.put({fingerprint: now.to_bytes(8, "big")})
            return 0
        return now - int.from_bytes(since, "big")


async def _in_thread(threads: ThreadPoolExecutor, function: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, function)
