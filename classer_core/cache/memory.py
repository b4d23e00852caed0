"""MemoryCache: the most recently used answers of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

MAX_ENTRIES = 100_000  # about 30 MB


class MemoryCache:
    """Keeps at most `max_entries` entries in memory, the most recently used ones. Thread-safe.

    Entries are in two generations: an entry that is used moves to the young one, and when that is full, the old one is
    dropped and the young one takes its place. The last `max_entries / 2` used entries are always kept, without the cost
    of an ordered list.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._limit = max(1, max_entries // 2)
        self._lock = threading.Lock()
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the entries that exist for these fingerprints."""
        entries: dict[bytes, bytes] = {}
        with self._lock:
            for key in keys:
                entry = self._young.get(key)
                if entry is None and (entry := self._old.get(key)) is not None:
                    self._keep(key, entry)
                if entry is not None:
                    entries[key] = entry
        return entries

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store entries, replacing existing ones."""
        with self._lock:
            for key, entry in entries.items():
                self._keep(key, entry)

    def close(self) -> None:
        """Drop all entries."""
        with self._lock:
            self._young, self._old = {}, {}

    def _keep(self, key: bytes, entry: bytes) -> None:
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, {}
        self._young[key] = entry
