"""GuardedCache: a cache that is down, slow or damaged is reported and counted, and never more than that."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Mapping

from classer_core.cache import Cache
from classer_core.errors import without_users

log = logging.getLogger(__name__)

# How long a cache that failed is left alone, so that it does not slow every batch down.
PAUSE_S = 30.0
# Entries that wait to be written, and how long a batch waits for room among them before its own are dropped.
MAX_WAITING = 50_000
MAX_WAIT_S = 5.0


class GuardedCache:
    """Another cache, whose errors it catches, written to in the background. Safe to be used by several threads.

    Args:
        cache: what may fail.
        pause_s: how long it is left alone after it failed.
    """

    def __init__(self, cache: Cache, pause_s: float = PAUSE_S) -> None:
        self._cache = cache
        self._pause_s = pause_s
        self._resume_at = 0.0
        self._errors = 0
        self._changed = threading.Condition()
        self._waiting: dict[bytes, bytes] = {}
        self._writing = False

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the entries that the cache has; none while it is in trouble."""
        if time.monotonic() < self._resume_at:
            return {}
        try:
            return self._cache.get(keys)
        except Exception as error:  # each kind of cache has errors of its own, and none of them is the record's
            self._report(error)
            return {}

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Has entries written soon, if the cache is well; the process does not end before they are."""
        with self._changed:
            room = self._changed.wait_for(lambda: len(self._waiting) < MAX_WAITING, MAX_WAIT_S)
            if not entries or time.monotonic() < self._resume_at:
                return
            if not room:
                self._errors += 1
                return
            self._waiting.update(entries)
            if not self._writing:
                self._writing = True
                threading.Thread(target=self._write, name="cache-writer").start()

    def flush(self) -> None:
        """Returns when all entries are written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._writing)

    def report_wrong(self, count: int) -> None:
        """Count entries that are damaged, or are not answers that this classifier can give."""
        with self._changed:
            self._errors += count
        log.warning("cache %s: %d entries are damaged or forged: classified anew and overwritten", self._cache, count)

    def take_errors(self) -> int:
        """Errors since this was last asked."""
        with self._changed:
            errors, self._errors = self._errors, 0
        return errors

    def close(self) -> None:
        """Writes what waits, and closes the cache."""
        self.flush()
        self._cache.close()

    def _write(self) -> None:
        """Runs as long as there is something to write: a thread that ends by itself needs nobody to stop it."""
        while True:
            with self._changed:
                entries, self._waiting = self._waiting, {}
                self._writing = bool(entries)
                self._changed.notify_all()
                if not entries:
                    return
            try:
                self._cache.put(entries)
            except Exception as error:  # see `get`
                self._report(error)

    def _report(self, error: Exception) -> None:
        with self._changed:
            self._errors += 1
            self._resume_at = time.monotonic() + self._pause_s
        with contextlib.suppress(Exception):
            self._cache.close()  # opened again at the next try: the trouble may be the connection's
        # The cache prints as its address without secrets; libraries' errors name hosts and files, no passwords.
        log.warning(
            "cache %s: %s: %s. Records are classified without it; it is tried again in %.0f s",
            self._cache,
            type(error).__name__,
            without_users(str(error)[:200]),
            self._pause_s,
        )
