"""Preparation: slow records get their content and their answer here, each at its own pace, before they join a chunk.

A URL that hangs, or a document of twenty pages, delays its own record and no other one.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Sequence

import pyarrow as pa

from classer_core.cached import CachedEngine, Known
from classer_core.errors import RecordError
from classer_core.fetching import FetchRules
from classer_core.hardware import available_cores
from classer_core.records import Failure, Record
from pipelines.chunks import record_json
from pipelines.fetch import read_files, shared_fetcher
from pipelines.streaming.parsing import Entry, pack

# Most of them wait for other machines; how many open documents at once is another matter.
THREADS = 32
# Texts that would keep a chunk busy for about a second go the same way.
LONG_TEXT_CHARS = 30_000


class Preparation:
    """Prepares entries in threads of its own.

    Args:
        load: loads the engine; the first slow record waits for it.
        rules: what records may reach.
        own_files: patterns of the job's source, if attachments are files of it: it may read them.
        passed: the columns that pass through.
        ready: takes each entry when it is prepared; called in one of the threads.
        broken: takes what is no record's fault; called in one of the threads.
    """

    def __init__(
        self,
        load: Callable[[], CachedEngine],
        rules: FetchRules,
        own_files: Sequence[str],
        passed: pa.Schema,
        ready: Callable[[Entry], None],
        broken: Callable[[BaseException], None],
    ) -> None:
        self._load = load
        self._rules = rules
        self._own_files = own_files
        self._passed = passed
        self._ready = ready
        self._broken = broken
        # By rank, then in the order they came; None ends a thread.
        self._waiting: queue.PriorityQueue[tuple[int, int, Entry | None]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._opening = threading.BoundedSemaphore(available_cores())
        self._threads = 0
        self._closed = False

    def submit(self, entry: Entry) -> None:
        """Takes an entry; fast ones go before others. Called by one thread."""
        if self._threads < THREADS:
            self._threads += 1
            # A stream that is stopped waits for no hanging URL: its record is given back.
            threading.Thread(target=self._run, name="prepare", daemon=True).start()
        self._waiting.put((0 if entry.is_fast else 1, next(self._numbers), entry))

    def close(self) -> None:
        """Ends the threads, each after what it has in hand."""
        self._closed = True
        for _ in range(self._threads):
            self._waiting.put((2, next(self._numbers), None))

    def _run(self) -> None:
        while (entry := self._waiting.get()[2]) is not None and not self._closed:
            try:
                self._prepare(entry)
            except BaseException as error:
                self._broken(error)
                return
            self._ready(entry)

    def _prepare(self, entry: Entry) -> None:
        record = entry.outcome
        assert isinstance(record, Record)
        start = time.perf_counter()
        error = self._fetch(record)
        if error is not None:
            original = record_json(pack([entry], self._passed).original(0))
            entry.outcome = Failure.of(error, record.id, "fetch", original)
            return
        entry.size_bytes += sum(len(item.data or b"") for item in record.attachments)
        engine = self._load()
        with self._opening:
            [found] = engine.answer([record], {})
        record.fetch_ms = (time.perf_counter() - start) * 1000
        entry.known = found.fingerprint, Known(found.answer, None if found.cached else record.id)

    def _fetch(self, record: Record) -> RecordError | None:
        attachments = list(record.attachments)
        if not attachments:
            return None
        if self._own_files:
            found = read_files(attachments, self._own_files, self._rules)
        else:
            found = shared_fetcher(self._rules).fetch(attachments)
        for item, error in zip(attachments, found, strict=True):
            if error is not None:
                return RecordError(error.code, error.message, item.field)
        return None


def is_slow(entry: Entry) -> bool:
    """Whether an entry has to be prepared."""
    record = entry.outcome
    return isinstance(record, Record) and (bool(record.attachments) or len(record.text) > LONG_TEXT_CHARS)
