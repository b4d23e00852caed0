"""RecentRows: what a table has got lately. Messages that come again after a process was killed are not written again.

Their rows were there, and the process ended before it could acknowledge them. Only rows of the table's last hour are
looked at: what was written before that has long been acknowledged.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
from apache_beam.metrics import Metrics

from pipelines.bigquery.clients import rest_client
from pipelines.bigquery.names import TableName, quoted
from pipelines.classify import NAMESPACE
from pipelines.shared import Shared

KEPT = 300_000


class RecentRows:
    """The last rows of a table, known by some of their columns. Safe to be used by several threads.

    Args:
        table: the table.
        columns: what tells its rows apart.
    """

    def __init__(self, table: TableName, columns: Sequence[str]) -> None:
        self._table = table
        self._columns = list(columns)
        self._lock = threading.Lock()
        self._digests: OrderedDict[bytes, None] = OrderedDict()
        self._sent: dict[str, list[bytes]] = {}
        self._duplicates = Metrics.counter(NAMESPACE, "duplicates")

    def load(self, when: str) -> None:
        """Reads the last hour of the table; `when` is its column of times."""
        client = rest_client(self._table.project)
        rows = client.query(recent_sql(self._table, self._columns, when)).result()
        self._add(_digest(tuple(row.values())) for row in rows)

    def new(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a batch that the table does not have; the others are counted."""
        digests = self._digests_of(batch)
        with self._lock:
            new = [row for row, digest in enumerate(digests) if digest not in self._digests]
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
        with self._lock:
            self._digests.update(dict.fromkeys(digests))
            while len(self._digests) > KEPT:
                self._digests.popitem(last=False)


_shared: Shared[RecentRows] = Shared()


def recent_rows(table: TableName, columns: Sequence[str]) -> RecentRows:
    """One for each table in a process, as long as anybody uses it."""
    return _shared.get(table, lambda: RecentRows(table, columns))


def recent_sql(table: TableName, columns: Sequence[str], when: str) -> str:
    """The query for rows of a table's last hour, the newest last."""
    names, time = ", ".join(map(quoted, columns)), quoted(when)
    newest = f"SELECT MAX({time}) FROM {table.sql}"
    last = f"SELECT * FROM {table.sql} WHERE {time} >= TIMESTAMP_SUB(({newest}), INTERVAL 1 HOUR)"
    return f"SELECT {names} FROM ({last} ORDER BY {time} DESC LIMIT {KEPT}) ORDER BY {time}"


def _digest(values: tuple[Any, ...]) -> bytes:
    return hashlib.sha256(repr(values).encode()).digest()[:16]
