"""Rows of a pipeline in, one line per line of the upload out, in its order, without holding them in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

BATCH_ROWS = 4_096
RESULT_COLUMNS = ["id", "label", "labels", "confidence", "tokens"]
FAILURE_COLUMNS = ["id", "message"]


class ResultLines:
    """Lines by their position in the upload, on disk. A position has one line, however often it is put.

    Args:
        path: the database; one that is there is replaced.
        is_multi: whether lines hold several labels.
    """

    def __init__(self, path: Path, is_multi: bool) -> None:
        path.unlink(missing_ok=True)
        self._is_multi = is_multi
        self._database = sqlite3.connect(path, isolation_level=None)
        # A run that was killed begins anew: nothing has to survive.
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(
            "CREATE TABLE lines (position INTEGER PRIMARY KEY, line BLOB NOT NULL, failed INTEGER NOT NULL)"
        )
        self._waiting: list[tuple[int, bytes, bool]] = []

    def fail(self, position: int, message: str) -> None:
        """Put an error line."""
        nothing: dict[str, Any] = {"labels": None} if self._is_multi else {"label": None, "confidence": None}
        self._put(position, nothing | {"tokens": 0, "error": message}, True)

    def add_results(self, folder: Path) -> None:
        """Put the lines of all result rows of a folder."""
        for row in _rows(folder, RESULT_COLUMNS):
            kept = ("labels", "tokens") if self._is_multi else ("label", "confidence", "tokens")
            self._put(int(row["id"]), {name: row[name] for name in kept}, False)

    def add_failures(self, folder: Path) -> None:
        """Put the lines of all failure rows of a folder."""
        for row in _rows(folder, FAILURE_COLUMNS):
            self.fail(int(row["id"]), row["message"])

    def write(self, path: Path) -> tuple[int, int]:
        """Write all lines in order; return how many there are, and how many of them are errors."""
        self._flush()
        lines = failed = 0
        with path.open("wb") as file, closing(self._database.cursor()) as cursor:
            for line, is_failed in cursor.execute("SELECT line, failed FROM lines ORDER BY position"):
                file.write(line)
                lines += 1
                failed += is_failed
        return lines, failed

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _put(self, position: int, line: dict[str, Any], is_failed: bool) -> None:
        self._waiting.append((position, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE), is_failed))
        if len(self._waiting) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR REPLACE INTO lines VALUES (?, ?, ?)", self._waiting)
        self._database.execute("COMMIT")
        self._waiting = []


def _rows(folder: Path, columns: Iterable[str]) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
                yield from batch.to_pylist()
