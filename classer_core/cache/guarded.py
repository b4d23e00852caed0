"""GuardedCache: log and count the errors of a cache, so that they never fail a record."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Mapping

from classer_core.cache import Cache
from classer_core.errors import without_users

log = logging.getLogger(__name__)

# After an error the cache is not used for this long, so that it does not slow down every batch.
PAUSE_S = 30.0
# Entries waiting to be written at most, and how long a batch waits for room before its entries are dropped.
MAX_WAITING = 50_000
MAX_WAIT_S = 5.0


class GuardedCache:
    """Catches the errors of another cache, and writes to it in the background. Thread-safe.

    Args:
        cache: the cache that may fail.
        pause_s: seconds for which it is not used after an error.
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
        """Return the entries that exist; none during the pause after an error."""
        if time.monotonic() < self._resume_at:
            return {}
        try:
            return self._cache.get(keys)
        except Exception as error:  # every kind of cache has its own errors, and none is the record's fault
            self._report(error)
            return {}

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Queue entries for writing, unless the cache is paused; the process does not end before they are written."""
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
        """Wait until all queued entries are written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._writing)

    def report_wrong(self, count: int) -> None:
        """Log and count entries that are damaged, or that can't be answers to the record."""
        with self._changed:
            self._errors += count
        message = "cache %s: %d entries are damaged or forged: their records are classified and the entries overwritten"
        log.warning(message, self._cache, count)

    def take_errors(self) -> int:
        """Return the number of errors since the last call."""
        with self._changed:
            errors, self._errors = self._errors, 0
        return errors

    def close(self) -> None:
        """Write the queued entries, then close the cache."""
        self.flush()
        self._cache.close()

    def _write(self) -> None:
        """Write queued entries until there are none; the thread then ends."""
        while True:
            with self._changed:
                entries, self._waiting = self._waiting, {}
                self._writing = bool(entries)
                self._changed.notify_all()
                if not entries:
                    return
            try:
                self._cache.put(entries)
            except Exception as error:  # as in `get`
                self._report(error)

    def _report(self, error: Exception) -> None:
        with self._changed:
            self._errors += 1
            self._resume_at = time.monotonic() + self._pause_s
        with contextlib.suppress(Exception):
            self._cache.close()  # it reconnects when used next, in case the connection is at fault
        # The cache's `str` is its address without secrets; errors of libraries contain hosts and files, no passwords.
        log.warning(
            "cache %s: %s: %s. Records are classified without the cache; it is tried again in %.0f s",
            self._cache,
            type(error).__name__,
            without_users(str(error)[:200]),
            self._pause_s,
        )
