"""CachedEngine: an engine that never reads the same content twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache

from classer_core.cache import Cache, open_cache
from classer_core.cache.entries import from_entry, to_entry
from classer_core.cache.guarded import GuardedCache
from classer_core.cache.memory import MemoryCache
from classer_core.engine import Engine, load_engine, outcome_of
from classer_core.kept import is_answer_to
from classer_core.records import Answer, Failure, Outcome, Record

Answers = dict[bytes, Answer | Failure]


@dataclass(slots=True)
class Known:
    """An answer that a step before found. `source_id` is the record it was made for, if that is one of this run's."""

    answer: Answer | Failure
    source_id: str | None = None


@dataclass(slots=True)
class Found:
    """The answer to one record's content; `cached`: without reading this record."""

    answer: Answer | Failure
    fingerprint: bytes
    latency_ms: float
    cached: bool


class CachedEngine:
    """Classifies records, each distinct content once. Safe to be used by several threads.

    An answer comes, in this order, from: a step before, this process's memory, another thread that is at it right now,
    the cache, and only then the models. The cache is asked for all records of a batch at once, before attachments are
    opened. A record with `cache: false` goes to the models in any case, and its answer replaces the one that was kept.
    Failures are not kept: they may have been this machine's, and the next run tries again.

    Args:
        engine: what reads.
        cache: what outlives this process, if anything does.
    """

    def __init__(self, engine: Engine, cache: Cache | None = None) -> None:
        self.engine = engine
        self._memory = MemoryCache()
        self._cache = GuardedCache(cache) if cache is not None else None
        self._lock = threading.Lock()
        self._pending: dict[bytes, Future[Answers]] = {}

    def classify(self, records: Sequence[Record], known: Mapping[bytes, Known] | None = None) -> list[Outcome]:
        """One outcome per record, in the same order; see `Engine.classify`. `known` is by fingerprint."""
        return [
            outcome_of(record, found.answer, found.fingerprint, found.latency_ms, found.cached)
            for record, found in zip(records, self.answer(records, known or {}), strict=True)
        ]

    def fingerprints(self, records: Sequence[Record]) -> list[bytes]:
        """See `Engine.fingerprints`."""
        return self.engine.fingerprints(records)

    def answer(self, records: Sequence[Record], known: Mapping[bytes, Known]) -> list[Found]:
        """The answer to each record's content, and how it was come by."""
        start = time.perf_counter()
        prints = self.fingerprints(records)
        first: dict[bytes, int] = {}
        for position, (record, print_) in enumerate(zip(records, prints, strict=True)):
            if record.cache and print_ not in known:
                first.setdefault(print_, position)
        fresh = [
            position
            for position, (record, print_) in enumerate(zip(records, prints, strict=True))
            if not record.cache and not _was_read(record, known.get(print_))
        ]
        by_print = {print_: records[position] for print_, position in first.items()}
        answers, mine, theirs = self._claim(by_print)
        try:
            answers.update(self._look_up(mine, by_print))
            missed = [first[print_] for print_ in mine if print_ not in answers]
            share_ms = (time.perf_counter() - start) * 1000 / max(len(records), 1)
            read = dict(zip(missed + fresh, self.engine.answer([records[n] for n in missed + fresh]), strict=True))
            answers.update({prints[position]: read[position][0] for position in missed})
            self._keep({prints[position]: read[position][0] for position in missed + fresh}, mine, answers)
        except BaseException as error:
            self._give_up(mine, error)
            raise
        answers.update(self._wait(theirs, by_print))
        founds = []
        for position, (record, print_) in enumerate(zip(records, prints, strict=True)):
            before_ms = record.fetch_ms + share_ms
            if position in read:
                answer, own_ms = read[position]
                founds.append(Found(answer, print_, before_ms + own_ms, cached=False))
            elif print_ in known:
                of_record = known[print_].source_id == record.id
                founds.append(Found(known[print_].answer, print_, before_ms, cached=not of_record))
            else:
                founds.append(Found(answers[print_], print_, before_ms, cached=True))
        return founds

    def recall(self, records: Mapping[bytes, Record], in_memory: bool = False) -> dict[bytes, Answer | Failure]:
        """Return the answers that are known already, by fingerprint; no record is read.

        Args:
            records: one record per fingerprint.
            in_memory: whether only this process's memory is asked, which never waits for a disk or a server.
        """
        answers = self._decoded(self._memory.get(records), records)
        if not in_memory:
            answers |= self._look_up([fingerprint for fingerprint in records if fingerprint not in answers], records)
        return answers

    def take_errors(self) -> int:
        """Errors of the cache since this was last asked."""
        return self._cache.take_errors() if self._cache is not None else 0

    def flush(self) -> None:
        """Returns when the cache has all answers."""
        if self._cache is not None:
            self._cache.flush()

    def close(self) -> None:
        """Lets go of the cache's files and connections."""
        if self._cache is not None:
            self._cache.close()

    def _claim(self, records: Mapping[bytes, Record]) -> tuple[Answers, list[bytes], dict[bytes, Future[Answers]]]:
        """Return what memory has, what this call will find out, and what other threads are finding out."""
        future: Future[Answers] = Future()
        mine, theirs = [], {}
        with self._lock:
            answers = self._decoded(self._memory.get(records), records)
            for print_ in records:
                if print_ in answers:
                    continue
                if print_ in self._pending:
                    theirs[print_] = self._pending[print_]
                else:
                    self._pending[print_] = future
                    mine.append(print_)
        return answers, mine, theirs

    def _look_up(self, prints: list[bytes], records: Mapping[bytes, Record]) -> Answers:
        """Return the answers that the cache has; entries that are not answers to these records are counted."""
        if self._cache is None or not prints:
            return {}
        entries = self._cache.get(prints)
        answers = self._decoded(entries, records)
        if len(answers) < len(entries):
            self._cache.report_wrong(len(entries) - len(answers))
        self._memory.put({print_: entries[print_] for print_ in answers})
        return answers

    def _decoded(self, entries: Mapping[bytes, bytes], records: Mapping[bytes, Record]) -> Answers:
        decoded = {print_: from_entry(print_, entry) for print_, entry in entries.items()}
        return {
            print_: answer
            for print_, answer in decoded.items()
            if answer is not None and is_answer_to(answer, records[print_])
        }

    def _keep(self, read: Answers, mine: list[bytes], answers: Answers) -> None:
        """Answers that were just made, for this process, then for threads that wait, then for later."""
        entries = {print_: to_entry(print_, answer) for print_, answer in read.items() if isinstance(answer, Answer)}
        self._memory.put(entries)
        if mine:
            with self._lock:
                future = self._pending[mine[0]]
                for print_ in mine:
                    del self._pending[print_]
            future.set_result({print_: answers[print_] for print_ in mine})
        if self._cache is not None:
            self._cache.put(entries)

    def _give_up(self, mine: list[bytes], error: BaseException) -> None:
        with self._lock:
            futures = {self._pending.pop(print_) for print_ in mine if print_ in self._pending}
        for future in futures:
            future.set_exception(error)

    def _wait(self, theirs: Mapping[bytes, Future[Answers]], records: Mapping[bytes, Record]) -> Answers:
        """What other threads found out; what one of them could not finish is read here."""
        answers: Answers = {}
        for print_, future in theirs.items():
            if future.exception() is None:
                answers[print_] = future.result()[print_]
        left = [print_ for print_ in theirs if print_ not in answers]
        if left:
            found = self.engine.answer([records[print_] for print_ in left])
            read = {print_: answer for print_, (answer, _) in zip(left, found, strict=True)}
            self._keep(read, [], answers)
            answers.update(read)
        return answers


def _was_read(record: Record, known: Known | None) -> bool:
    """Whether a step before has read this very record."""
    return known is not None and known.source_id == record.id


_loading = threading.Lock()


def load_cached_engine(
    cache: str, model: str, visual_model: str, page_overflow: str, threads: int | None = None
) -> CachedEngine:
    """A cache's URL and what `load_engine` takes in, the engine behind that cache out; one copy per process.

    Raises:
        ModelLoadError: a model can't be loaded.
        ValueError: the URL is none of a cache.
    """
    with _loading:  # several steps of a worker ask at the same time
        return _load_cached_engine(cache, model, visual_model, page_overflow, threads)


@lru_cache(maxsize=2)
def _load_cached_engine(
    cache: str, model: str, visual_model: str, page_overflow: str, threads: int | None
) -> CachedEngine:
    return with_cache(cache, lambda: load_engine(model, visual_model, page_overflow, threads))


def with_cache(cache: str, load: Callable[[], Engine]) -> CachedEngine:
    """Any engine, behind the cache of this URL."""
    return CachedEngine(load(), open_cache(cache))
