"""SqliteCache: answers in one file, shared by all processes of a machine, safe against being killed at any moment."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

APPLICATION_ID = 0x436C7372  # "Clsr": tells our files from other people's databases
SCHEMA = """
CREATE TABLE answers (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, stored_at INTEGER NOT NULL,
                      answer BLOB NOT NULL)
"""
# How long a process waits for another one to finish writing.
BUSY_TIMEOUT_S = 5.0
# An entry that was stored later than this from now would never grow old.
CLOCKS_DIFFER_S = 86_400
# Rows of one statement, which SQLite runs without Python's lock; it takes at most 32,766 values.
ROWS_TOGETHER = 1_000
PAGE_CACHE_KIB = 32 << 10
# The write-ahead log is worked into the file when it has this many pages: rarely, for that waits for the disk.
WAL_PAGES = 8_000
WAL_BYTES = 64 << 20
# How often a process looks after the bounds; it forgets in small steps, so that others can write in between.
ENTRIES_BETWEEN_SWEEPS = 50_000
ROWS_FORGOTTEN_TOGETHER = 5_000


@dataclass(frozen=True)
class FileStatistics:
    """The content of a cache file, in numbers."""

    entries: int
    bytes: int
    oldest: datetime | None


class SqliteCache:
    """Entries in a SQLite file (WAL: readers never wait). Its rows lie in the order they were stored, oldest first.

    Args:
        path: the file; made when first used, for this user only.
        ttl_s: entries older than this are not found.
        max_bytes: a file that is larger forgets its oldest entries.
    """

    def __init__(self, path: Path, ttl_s: int, max_bytes: int) -> None:
        self._path = path
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._reader = _Connection(path)
        self._writer = _Connection(path)
        self._unswept = ENTRIES_BETWEEN_SWEEPS

    def __str__(self) -> str:
        return str(self._path)

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """See `Cache.get`."""
        wanted = list(keys)
        found: dict[bytes, bytes] = {}
        now = int(time.time())
        with self._reader as connection:
            for start in range(0, len(wanted), ROWS_TOGETHER):
                part = wanted[start : start + ROWS_TOGETHER]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, answer FROM answers WHERE key IN ({marks}) AND stored_at BETWEEN ? AND ?"
                found.update(connection.execute(query, (*part, now - self._ttl_s, now + CLOCKS_DIFFER_S)))
        return found

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """See `Cache.put`; one transaction."""
        rows = sorted(entries.items())  # neighbours in the index are written together
        now = int(time.time())
        with self._writer as connection:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                for start in range(0, len(rows), ROWS_TOGETHER):
                    part = rows[start : start + ROWS_TOGETHER]
                    marks = ",".join(["(?,?,?)"] * len(part))
                    values = [value for key, answer in part for value in (key, now, answer)]
                    connection.execute(f"REPLACE INTO answers (key, stored_at, answer) VALUES {marks}", values)
            self._unswept += len(rows)
            if self._unswept >= ENTRIES_BETWEEN_SWEEPS:
                self._sweep(connection, now)

    def statistics(self) -> FileStatistics:
        """Return what the file holds now.

        Raises:
            sqlite3.Error: it is damaged.
        """
        with self._reader as connection:
            [(entries, oldest)] = connection.execute("SELECT count(*), min(stored_at) FROM answers")
            size = _used_bytes(connection)
        try:
            return FileStatistics(entries, size, None if oldest is None else datetime.fromtimestamp(oldest, UTC))
        except (TypeError, ValueError, OverflowError, OSError) as error:
            raise sqlite3.DatabaseError(f"its oldest entry has the time {str(oldest)[:40]!r}") from error

    def close(self) -> None:
        """Closes the file."""
        self._reader.close()
        self._writer.close()

    def _sweep(self, connection: sqlite3.Connection, now: int) -> None:
        """Forgets what is too old and, of a file that is too large, the oldest; others get to write in between."""
        self._unswept = 0
        oldest_wanted = "SELECT number FROM answers WHERE stored_at >= ? ORDER BY number LIMIT 1"
        fresh = connection.execute(oldest_wanted, (now - self._ttl_s,)).fetchone()
        while True:
            [(first, last)] = connection.execute("SELECT min(number), max(number) FROM answers")
            if first is None or first == last:
                return
            too_old = fresh is not None and first < fresh[0]
            if not too_old and _used_bytes(connection) <= self._max_bytes:
                return
            end = min(first + ROWS_FORGOTTEN_TOGETHER, fresh[0] if too_old else last)
            connection.execute("DELETE FROM answers WHERE number < ?", (end,))


class _Connection:
    """A connection, opened when first used, for one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._opened: sqlite3.Connection | None = None

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        try:
            if self._opened is None:
                self._opened = connect(self._path)
                weakref.finalize(self, self._opened.close)
            return self._opened
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None


def connect(path: Path) -> sqlite3.Connection:
    """The file, open, with our table in it.

    Raises:
        sqlite3.DatabaseError: it is damaged, or holds something else.
        OSError: it can't be made.
    """
    if not path.exists():
        _create(path)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        [(found,)] = connection.execute("PRAGMA application_id")
        if found != APPLICATION_ID:
            raise sqlite3.DatabaseError("it holds something else: name another file")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    """Made beside its place and then linked there: other processes see a whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".cache-") as folder:  # for this user only
        made = Path(folder) / path.name
        os.close(os.open(made, os.O_CREAT | os.O_RDWR, 0o600))
        with closing(sqlite3.connect(made, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(SCHEMA)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(made, path)


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of pages in use: a file never shrinks, and uses its free pages again."""
    sizes = [
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    ]
    return int((sizes[0] - sizes[1]) * sizes[2])
