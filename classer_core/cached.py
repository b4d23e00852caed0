"""CachedEngine: an engine behind a cache, which reads each distinct content once."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from classer_core.cache import Cache, open_cache
from classer_core.cache.entries import from_entry, to_entry
from classer_core.cache.guarded import GuardedCache
from classer_core.cache.memory import MemoryCache
from classer_core.engine import Engine, load_engine, outcome_of
from classer_core.kept import is_answer_to
from classer_core.models.spec import AnyModelSpec, ModelSpec
from classer_core.records import Answer, Failure, Outcome, Record

AnswersByFingerprint = dict[bytes, Answer | Failure]


@dataclass(slots=True)
class Known:
    """An answer from an earlier step of the run.

    Attributes:
        answer: the answer, or the failure.
        source_id: id of the record of this run that was read for it; None if no record of this run was.
    """

    answer: Answer | Failure
    source_id: str | None = None


@dataclass(slots=True)
class AnsweredRecord:
    """The answer to one record's content.

    Attributes:
        answer: the answer, or the failure.
        fingerprint: the record's fingerprint.
        latency_ms: the record's own milliseconds, fetching included.
        cached: whether the answer was found without reading this record.
    """

    answer: Answer | Failure
    fingerprint: bytes
    latency_ms: float
    cached: bool


class CachedEngine:
    """Classifies records, each distinct content once. Thread-safe.

    Answers are looked for in this order: earlier steps of the run, this process's memory, other threads that are
    computing them now, the cache, the models. The cache is asked once for all records of a batch, before attachments
    are opened. A record with `cache: false` is always read, and its answer replaces the cached one. Failures are not
    cached: the cause may be this machine, and the next run tries again.

    Args:
        engine: reads the records.
        cache: keeps answers after this process has ended; None to keep them in memory only.
    """

    def __init__(self, engine: Engine, cache: Cache | None = None) -> None:
        self.engine = engine
        self._memory = MemoryCache()
        self._cache = GuardedCache(cache) if cache is not None else None
        self._lock = threading.Lock()
        self._pending: dict[bytes, Future[AnswersByFingerprint]] = {}

    def classify(self, records: Sequence[Record], known: Mapping[bytes, Known] | None = None) -> list[Outcome]:
        """Return one outcome per record, in the same order, as `Engine.classify` does.

        Args:
            records: with the bytes of their attachments.
            known: answers of earlier steps by fingerprint.
        """
        return [
            outcome_of(record, answered.answer, answered.fingerprint, answered.latency_ms, answered.cached)
            for record, answered in zip(records, self.answer(records, known or {}), strict=True)
        ]

    def fingerprints(self, records: Sequence[Record]) -> list[bytes]:
        """Return the fingerprint of each record; attachments must have their bytes."""
        return self.engine.fingerprints(records)

    def answer(self, records: Sequence[Record], known: Mapping[bytes, Known]) -> list[AnsweredRecord]:
        """Return the answer to each record's content, and whether the record was read for it."""
        start = time.perf_counter()
        fingerprints = self.fingerprints(records)
        first_with: dict[bytes, int] = {}
        for position, (record, fingerprint) in enumerate(zip(records, fingerprints, strict=True)):
            if record.cache and fingerprint not in known:
                first_with.setdefault(fingerprint, position)
        uncached = [
            position
            for position, (record, fingerprint) in enumerate(zip(records, fingerprints, strict=True))
            if not record.cache and not _was_read(record, known.get(fingerprint))
        ]
        distinct = {fingerprint: records[position] for fingerprint, position in first_with.items()}
        answers, claimed, awaited = self._claim(distinct)
        try:
            answers.update(self._look_up(claimed, distinct))
            missed = [first_with[fingerprint] for fingerprint in claimed if fingerprint not in answers]
            share_ms = (time.perf_counter() - start) * 1000 / max(len(records), 1)
            to_read = missed + uncached
            read = dict(zip(to_read, self.engine.answer([records[position] for position in to_read]), strict=True))
            answers.update({fingerprints[position]: read[position][0] for position in missed})
            self._keep({fingerprints[position]: read[position][0] for position in to_read}, claimed, answers)
        except BaseException as error:
            self._give_up(claimed, error)
            raise
        answers.update(self._wait(awaited, distinct))
        answered = []
        for position, (record, fingerprint) in enumerate(zip(records, fingerprints, strict=True)):
            before_ms = record.fetch_ms + share_ms
            if position in read:
                answer, read_ms = read[position]
                answered.append(AnsweredRecord(answer, fingerprint, before_ms + read_ms, cached=False))
            elif fingerprint in known:
                cached = not _was_read(record, known[fingerprint])
                answered.append(AnsweredRecord(known[fingerprint].answer, fingerprint, before_ms, cached))
            else:
                answered.append(AnsweredRecord(answers[fingerprint], fingerprint, before_ms, cached=True))
        return answered

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
        """Return the number of errors of the cache since the last call."""
        return self._cache.take_errors() if self._cache is not None else 0

    def flush(self) -> None:
        """Wait until the cache has stored all answers."""
        if self._cache is not None:
            self._cache.flush()

    def close(self) -> None:
        """Close the cache's files and connections."""
        if self._cache is not None:
            self._cache.close()

    def _claim(
        self, records: Mapping[bytes, Record]
    ) -> tuple[AnswersByFingerprint, list[bytes], dict[bytes, Future[AnswersByFingerprint]]]:
        """Return the answers in memory, the fingerprints that this call answers, and those that other threads answer.

        Args:
            records: one record per fingerprint.
        """
        future: Future[AnswersByFingerprint] = Future()
        claimed, awaited = [], {}
        with self._lock:
            answers = self._decoded(self._memory.get(records), records)
            for fingerprint in records:
                if fingerprint in answers:
                    continue
                if fingerprint in self._pending:
                    awaited[fingerprint] = self._pending[fingerprint]
                else:
                    self._pending[fingerprint] = future
                    claimed.append(fingerprint)
        return answers, claimed, awaited

    def _look_up(self, fingerprints: list[bytes], records: Mapping[bytes, Record]) -> AnswersByFingerprint:
        """Return the answers that the cache has; entries that can't be answers to these records count as errors."""
        if self._cache is None or not fingerprints:
            return {}
        entries = self._cache.get(fingerprints)
        answers = self._decoded(entries, records)
        if len(answers) < len(entries):
            self._cache.report_wrong(len(entries) - len(answers))
        self._memory.put({fingerprint: entries[fingerprint] for fingerprint in answers})
        return answers

    def _decoded(self, entries: Mapping[bytes, bytes], records: Mapping[bytes, Record]) -> AnswersByFingerprint:
        decoded = {fingerprint: from_entry(fingerprint, entry) for fingerprint, entry in entries.items()}
        return {
            fingerprint: answer
            for fingerprint, answer in decoded.items()
            if answer is not None and is_answer_to(answer, records[fingerprint])
        }

    def _keep(self, new_answers: AnswersByFingerprint, claimed: list[bytes], answers: AnswersByFingerprint) -> None:
        """Store new answers in memory, hand the claimed ones to the threads that wait for them, then fill the cache."""
        entries = {
            fingerprint: to_entry(fingerprint, answer)
            for fingerprint, answer in new_answers.items()
            if isinstance(answer, Answer)
        }
        self._memory.put(entries)
        if claimed:
            with self._lock:
                future = self._pending[claimed[0]]
                for fingerprint in claimed:
                    del self._pending[fingerprint]
            future.set_result({fingerprint: answers[fingerprint] for fingerprint in claimed})
        if self._cache is not None:
            self._cache.put(entries)

    def _give_up(self, claimed: list[bytes], error: BaseException) -> None:
        """Pass the error on to the threads that wait for the claimed fingerprints."""
        with self._lock:
            futures = {self._pending.pop(fingerprint) for fingerprint in claimed if fingerprint in self._pending}
        for future in futures:
            future.set_exception(error)

    def _wait(
        self, awaited: Mapping[bytes, Future[AnswersByFingerprint]], records: Mapping[bytes, Record]
    ) -> AnswersByFingerprint:
        """Return the answers of other threads; records whose thread failed are read here."""
        answers: AnswersByFingerprint = {}
        for fingerprint, future in awaited.items():
            if future.exception() is None:
                answers[fingerprint] = future.result()[fingerprint]
        missing = [fingerprint for fingerprint in awaited if fingerprint not in answers]
        if missing:
            read = self.engine.answer([records[fingerprint] for fingerprint in missing])
            new_answers = {fingerprint: answer for fingerprint, (answer, _) in zip(missing, read, strict=True)}
            self._keep(new_answers, [], answers)
            answers.update(new_answers)
        return answers


def _was_read(record: Record, known: Known | None) -> bool:
    """Return whether an earlier step of the run has read this very record."""
    return known is not None and known.source_id == record.id


_loading = threading.Lock()


def load_cached_engine(
    cache: str,
    model: str | AnyModelSpec,
    visual_model: str | ModelSpec,
    page_overflow: str,
    threads: int | None = None,
) -> CachedEngine:
    """Return the engine for these models behind this cache, one copy per process.

    Args:
        cache: a `cache:` URL, or `none`.
        model: as `load_engine` takes it, like the arguments after it.

    Raises:
        ModelLoadError: a model can't be loaded.
        ValueError: `cache` is not the URL of a cache.
    """
    with _loading, collection_paused():  # several steps of a worker may load at the same time
        return _load_cached_engine(cache, model, visual_model, page_overflow, threads)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Pause the garbage collector, which takes a tenth of the start: libraries make a million objects, all kept."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@lru_cache(maxsize=2)
def _load_cached_engine(
    cache: str, model: str | AnyModelSpec, visual_model: str | ModelSpec, page_overflow: str, threads: int | None
) -> CachedEngine:
    return with_cache(cache, lambda: load_engine(model, visual_model, page_overflow, threads))


def with_cache(cache: str, load: Callable[[], Engine]) -> CachedEngine:
    """Return the engine that `load` returns, behind the cache of this URL."""
    return CachedEngine(load(), open_cache(cache))
