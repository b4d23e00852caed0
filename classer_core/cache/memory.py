"""MemoryCache: what this process has found lately."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

MAX_ENTRIES = 100_000  # about 30 MB


class MemoryCache:
    """Entries used lately, at most `max_entries`; the rest is forgotten.

    Two generations: what is used moves to the young one; when that is full, the old one goes. That costs no order to
    be kept, and forgets nothing that is among the last `max_entries / 2` used.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._limit = max(1, max_entries // 2)
        self._lock = threading.Lock()
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """See `Cache.get`."""
        found: dict[bytes, bytes] = {}
        with self._lock:
            for key in keys:
                entry = self._young.get(key)
                if entry is None and (entry := self._old.get(key)) is not None:
                    self._keep(key, entry)
                if entry is not None:
                    found[key] = entry
        return found

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """See `Cache.put`."""
        with self._lock:
            for key, entry in entries.items():
                self._keep(key, entry)

    def close(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._young, self._old = {}, {}

    def _keep(self, key: bytes, entry: bytes) -> None:
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, {}
        self._young[key] = entry
