"""Write Arrow batches to temporary files of a folder; `publish` gives them their final names.

Files are written under `<path>/_temporary/<run>`. Readers of Parquet folders ignore names that begin with `_`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import Any, BinaryIO, Protocol

import apache_beam as beam
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from classer_core.durable import DurableWriter
from classer_core.storage import (
    is_url,
    join,
    list_folder,
    list_folders,
    list_prefix,
    open_writing,
)

ROW_GROUP_ROWS = 64 << 10
ROW_GROUP_BYTES = 64 << 20
FILE_ROWS = 5_000_000
_PARTITION = re.compile(r"[A-Za-z][A-Za-z0-9_]*=.*", re.DOTALL)
OUR_FILE = re.compile(r"^part-\d{5}-of-(?P<total>\d{5})-(?P<run>\w+)\.(parquet|ndjson)$")


class RowWriter(Protocol):
    """Writes batches into one open file."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows."""

    def close(self) -> None:
        """Writes what is buffered; the file itself stays open."""

    def abandon(self) -> None:
        """Write nothing any more."""


class ParquetRows:
    """Parquet with zstd; small batches are gathered into row groups worth reading."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._schema = schema
        self._pending: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows."""
        self._pending.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= ROW_GROUP_ROWS or self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Writes the last row group and the footer."""
        self._flush()
        self._writer.close()

    def abandon(self) -> None:
        """Else the footer would be written when the writer is forgotten."""
        self._pending = []
        self._writer.is_open = False

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_table(pa.Table.from_batches(self._pending, schema=self._schema))
        self._pending, self._rows, self._bytes = [], 0, 0


class NdjsonRows:
    """One JSON object a line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows."""
        self._file.write(b"".join(row_as_json(row) + b"\n" for row in batch.to_pylist()))

    def close(self) -> None:
        """Nothing is buffered."""

    def abandon(self) -> None:
        """Nothing is buffered."""


def row_as_json(row: dict[str, Any]) -> bytes:
    """A row as JSON; dates, decimals and bytes as strings."""
    return orjson.dumps(row, default=str)


def row_writer(file: BinaryIO, format: str, schema: pa.Schema) -> RowWriter:
    """The writer of a format."""
    return ParquetRows(file, schema) if format == "parquet" else NdjsonRows(file)


class WriteTemporaryFiles(beam.DoFn):
    """Write batches to temporary files and yield their paths: one per bundle, more only for very many rows.

    A bundle that is tried again leaves a file that nobody names; it goes with the temporary folder.
    """

    def __init__(self, folder: str, format: str) -> None:
        self._folder = folder
        self._format = format

    def start_bundle(self) -> None:
        """No file before there are rows."""
        self._file: Any = None
        self._finished: list[str] = []

    def process(self, batch: pa.RecordBatch) -> Iterable[str]:
        """Appends to the bundle's file."""
        if not batch.num_rows:
            return []
        if self._file is None:
            self._open(batch.schema)
        self._writer.write(batch)
        self._rows += batch.num_rows
        if self._rows >= FILE_ROWS:
            self._close()
        return []

    def finish_bundle(self) -> Iterable[WindowedValue]:
        """Only closed files are named."""
        if self._file is not None:
            self._close()
        for path in self._finished:
            yield WindowedValue(path, MIN_TIMESTAMP, (GlobalWindow(),))

    def teardown(self) -> None:
        """A bundle that failed leaves its file open."""
        file = getattr(self, "_file", None)
        if isinstance(file, DurableWriter):
            self._writer.abandon()
            file.abandon()

    def _open(self, schema: pa.Schema) -> None:
        self._path = join(self._folder, f"{uuid.uuid4().hex}.{self._format}")
        self._file = open_writing(self._path)
        self._writer = row_writer(self._file, self._format, schema)
        self._rows = 0

    def _close(self) -> None:
        self._writer.close()
        self._file.close()
        self._file = self._writer = None  # type: ignore[assignment]
        self._finished.append(self._path)


def ours(folder: str) -> list[str]:
    """Return the files in a folder, and in partitions of it, that a run of ours has published."""
    found = [file.path for file in list_folder(folder) if OUR_FILE.match(name_of(file.path))]
    if partitions := [path for path in list_folders(folder) if _PARTITION.fullmatch(name_of(path))]:
        if is_url(folder):  # in one listing: there may be thousands of partitions
            start = len(folder.rstrip("/")) + 1
            paths = (file.path for file in list_prefix(folder.rstrip("/") + "/"))
            return found + [path for path in paths if _is_in_partition(path[start:])]
        return found + [path for partition in partitions for path in ours(partition)]
    return found


def _is_in_partition(path: str) -> bool:
    *folders, name = path.split("/")
    return bool(folders) and OUR_FILE.match(name) is not None and all(map(_PARTITION.fullmatch, folders))


def name_of(path: str) -> str:
    """A file's own name."""
    return path.rpartition("/")[2]
