"""RecentRows: what a table has got lately. Messages that come again after a process was killed are not written again.

Their rows were there, and the process ended before it could acknowledge them. Only rows of the table's last hour are
looked at: what was written before that has long been acknowledged.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from apache_beam.metrics import Metrics

from pipelines.bigquery.clients import rest_client
from pipelines.bigquery.names import TableName, quoted
from pipelines.classify import NAMESPACE
from pipelines.shared import Shared

KEPT_S = 3_600
ROWS_TOGETHER = 10_000
# How often rows that are too old are forgotten.
SWEEP_S = 60


class RecentRows:
    """The rows of a table's last hour, known by some of their columns. Safe to be used by several threads.

    They are on this machine's disk: an hour of a fast stream is more than fits in memory.

    Args:
        table: the table.
        columns: what tells its rows apart.
    """

    def __init__(self, table: TableName, columns: Sequence[str]) -> None:
        self._table = table
        self._columns = list(columns)
        self._lock = threading.Lock()
        self._sent: dict[str, list[bytes]] = {}
        self._swept_at = 0.0
        self._duplicates = Metrics.counter(NAMESPACE, "duplicates")
        scratch = tempfile.mkdtemp(prefix="classer-")
        self._rows = sqlite3.connect(Path(scratch) / "rows", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, _remove, self._rows, scratch)
        self._rows.execute("PRAGMA journal_mode = OFF")
        self._rows.execute("PRAGMA synchronous = OFF")
        self._rows.execute("CREATE TABLE rows (digest BLOB PRIMARY KEY, seen REAL NOT NULL) WITHOUT ROWID")

    def load(self, when: str) -> None:
        """Read the last hour of the table; `when` is its column of times."""
        client = rest_client(self._table.project)
        found = client.query(recent_sql(self._table, self._columns, when)).result()
        # They grow old from now on: the table's last hour may be long ago, and its messages come again now.
        self._add(_digest(tuple(row.values())) for row in found)

    def new(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of a batch that the table does not have; the others are counted."""
        digests = self._digests_of(batch)
        known: set[bytes] = set()
        with self._lock:
            for part in _parts(digests):
                query = f"SELECT digest FROM rows WHERE digest IN ({','.join('?' * len(part))})"
                known.update(row[0] for row in self._rows.execute(query, part))
        new = [row for row, digest in enumerate(digests) if digest not in known]
        if len(new) == len(batch):
            return batch
        self._duplicates.inc(len(batch) - len(new))
        return batch.take(pa.array(new, pa.int32()))

    def sent(self, stream: str, batch: pa.RecordBatch) -> None:
        """These rows are in a stream that is not committed yet."""
        with self._lock:
            self._sent.setdefault(stream, []).extend(self._digests_of(batch))

    def committed(self, stream: str) -> None:
        """The stream's rows are in the table."""
        self._add(self._sent.pop(stream, ()))

    def _digests_of(self, batch: pa.RecordBatch) -> list[bytes]:
        by_name = {name.lower(): place for place, name in enumerate(batch.schema.names)}
        columns = [batch.column(by_name[name]).to_pylist() for name in self._columns]
        return [_digest(values) for values in zip(*columns, strict=True)]

    def _add(self, digests: Iterable[bytes]) -> None:
        now = time.time()
        with self._lock:
            self._rows.execute("BEGIN")
            try:
                for part in _parts(digests):
                    self._rows.executemany("REPLACE INTO rows VALUES (?, ?)", [(digest, now) for digest in part])
            finally:  # of a table that can't be read to its end, what was read is known
                self._rows.execute("COMMIT")
            if now - self._swept_at > SWEEP_S:
                self._rows.execute("DELETE FROM rows WHERE seen < ?", (now - KEPT_S,))
                self._swept_at = now


_shared: Shared[RecentRows] = Shared()


def recent_rows(table: TableName, columns: Sequence[str]) -> RecentRows:
    """One for each table in a process, as long as anybody uses it."""
    return _shared.get(table, lambda: RecentRows(table, columns))


def recent_sql(table: TableName, columns: Sequence[str], when: str) -> str:
    """Return the query for the rows of a table's last hour."""
    names, time = ", ".join(map(quoted, columns)), quoted(when)
    newest = f"SELECT MAX({time}) FROM {table.sql}"
    return f"SELECT {names} FROM {table.sql} WHERE {time} >= TIMESTAMP_SUB(({newest}), INTERVAL {KEPT_S} SECOND)"


def _parts(digests: Iterable[bytes]) -> Iterator[list[bytes]]:
    left = iter(digests)
    while part := list(islice(left, ROWS_TOGETHER)):
        yield part


def _remove(rows: sqlite3.Connection, scratch: str) -> None:
    rows.close()
    shutil.rmtree(scratch, ignore_errors=True)


def _digest(values: tuple[Any, ...]) -> bytes:
    return hashlib.sha256(repr(values).encode()).digest()[:16]
