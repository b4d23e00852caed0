"""SqliteCache: answers in one file, shared by all processes of a machine; a killed process does not damage it."""

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

APPLICATION_ID = 0x436C7372  # "Clsr": marks a database as a cache of this package
SCHEMA = """
CREATE TABLE answers (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, stored_at INTEGER NOT NULL,
                      answer BLOB NOT NULL)
"""
# How long a process waits while another one writes.
BUSY_TIMEOUT_S = 5.0
# Entries with a time further in the future than this are ignored: they would not expire.
CLOCKS_DIFFER_S = 86_400
# Rows per statement: SQLite runs a statement without Python's global lock, and takes at most 32,766 values.
ROWS_PER_STATEMENT = 1_000
PAGE_CACHE_KIB = 32 << 10
# Pages of the write-ahead log at which it is copied into the file: many, as copying waits for the disk.
WAL_PAGES = 8_000
WAL_BYTES = 64 << 20
# A process removes expired entries after writing this many, in small steps, so that other processes can write, too.
ENTRIES_BETWEEN_SWEEPS = 50_000
ROWS_FORGOTTEN_TOGETHER = 5_000


@dataclass(frozen=True)
class FileStatistics:
    """Statistics of a cache file.

    Attributes:
        entries: number of entries.
        bytes: size of the pages in use.
        oldest: when the oldest entry was stored, UTC; None if there is no entry.
    """

    entries: int
    bytes: int
    oldest: datetime | None


class SqliteCache:
    """Stores entries in a SQLite file in WAL mode, so that readers do not wait for writers. Thread-safe.

    Args:
        path: the file; created when first used, readable by this user only.
        ttl_s: seconds after which an entry expires.
        max_bytes: size above which the oldest entries are removed.
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
        """Return the entries that exist for these fingerprints and have not expired."""
        fingerprints = list(keys)
        entries: dict[bytes, bytes] = {}
        now = int(time.time())
        with self._reader as connection:
            for start in range(0, len(fingerprints), ROWS_PER_STATEMENT):
                part = fingerprints[start : start + ROWS_PER_STATEMENT]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, answer FROM answers WHERE key IN ({marks}) AND stored_at BETWEEN ? AND ?"
                entries.update(connection.execute(query, (*part, now - self._ttl_s, now + CLOCKS_DIFFER_S)))
        return entries

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store entries in one transaction, replacing existing ones."""
        rows = sorted(entries.items())  # rows of one page of the index are written together
        now = int(time.time())
        with self._writer as connection:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                for start in range(0, len(rows), ROWS_PER_STATEMENT):
                    part = rows[start : start + ROWS_PER_STATEMENT]
                    marks = ",".join(["(?,?,?)"] * len(part))
                    values = [value for key, answer in part for value in (key, now, answer)]
                    connection.execute(f"REPLACE INTO answers (key, stored_at, answer) VALUES {marks}", values)
            self._unswept += len(rows)
            if self._unswept >= ENTRIES_BETWEEN_SWEEPS:
                self._sweep(connection, now)

    def statistics(self) -> FileStatistics:
        """Return the statistics of the file.

        Raises:
            sqlite3.Error: the file is damaged.
        """
        with self._reader as connection:
            [(entries, oldest)] = connection.execute("SELECT count(*), min(stored_at) FROM answers")
            size = _used_bytes(connection)
        try:
            return FileStatistics(entries, size, None if oldest is None else datetime.fromtimestamp(oldest, UTC))
        except (TypeError, ValueError, OverflowError, OSError) as error:
            raise sqlite3.DatabaseError(f"its oldest entry has the time {str(oldest)[:40]!r}") from error

    def close(self) -> None:
        """Close the file."""
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
    """Return a connection to the cache file, which is created if it does not exist.

    Raises:
        sqlite3.DatabaseError: the file is damaged, or is not a cache.
        OSError: the file can't be created.
    """
    if not path.exists():
        _create(path)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        [(application_id,)] = connection.execute("PRAGMA application_id")
        if application_id != APPLICATION_ID:
            raise sqlite3.DatabaseError("the file is not a cache of answers: name another file")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    """Create the file under another name and link it, so that other processes see a complete file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".cache-") as folder:  # accessible by this user only
        new_file = Path(folder) / path.name
        os.close(os.open(new_file, os.O_CREAT | os.O_RDWR, 0o600))
        with closing(sqlite3.connect(new_file, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(SCHEMA)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(new_file, path)


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Return the size of the pages in use; a file does not shrink, but its free pages are used again."""
    sizes = [
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    ]
    return int((sizes[0] - sizes[1]) * sizes[2])
