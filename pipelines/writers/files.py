"""WriteRows: Arrow batches in, a folder of whole files out that replaces what the folder held.

Files are written under `<path>/_temporary/<run>` and get their final names only when all of them are complete:

    1. `_SUCCESS` of the last run is removed   2. the new files appear   3. files of earlier runs are removed
    4. `_SUCCESS` is written

A job killed before 2 leaves the last output as it was; one killed in between leaves no `_SUCCESS`, and running it
again puts things right. Readers of Parquet folders ignore names that start with an underscore.
"""

from __future__ import annotations

import contextlib
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

from classer_core.errors import AnotherRunError
from classer_core.fetching.rules import redacted
from classer_core.storage import (
    join,
    list_folder,
    list_folders,
    move,
    open_writing,
    read_start,
    remove,
    remove_folder,
    write_whole,
)
from pipelines.writers.lease import check_held

ROW_GROUP_ROWS = 64 << 10
ROW_GROUP_BYTES = 64 << 20
FILE_ROWS = 5_000_000
NAME_BYTES = 200
RUN = re.compile(r"\d{8}T\d{6}_\w+")
OUR_FILE = re.compile(r"^part-\d{5}-of-\d{5}-\w+\.(parquet|ndjson)$")


class WriteRows(beam.PTransform[Any, Any]):
    """Writes batches as files of a folder, replacing the rows of earlier runs. Bounded. Nothing goes to failures.

    Args:
        path: the folder, local or a URL.
        format: parquet or ndjson.
        schema: of all batches.
        run: name of this run, in letters, digits and underscores; part of every file's name.
    """

    def __init__(self, path: str, format: str, schema: pa.Schema, run: str) -> None:
        super().__init__()
        self._path = path
        self._format = format
        self._schema = schema
        self._run = run

    def expand(self, batches: Any) -> Any:
        """Temporary files bundle by bundle, then all of them published at once."""
        written = batches | "WriteTemporary" >> beam.ParDo(
            WriteTemporaryFiles(join(self._path, "_temporary", self._run), self._format)
        )
        return (
            batches.pipeline
            | "Once" >> beam.Create([None], reshuffle=False)
            | "Publish"
            >> beam.ParDo(PublishFiles(self._path, self._format, self._schema, self._run), beam.pvalue.AsList(written))
        )


class RowWriter(Protocol):
    """Writes batches into one open file."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows."""

    def close(self) -> None:
        """Writes what is buffered; the file itself stays open."""


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


def row_as_json(row: dict[str, Any]) -> bytes:
    """A row as JSON; dates, decimals and bytes as strings."""
    return orjson.dumps(row, default=str)


def row_writer(file: BinaryIO, format: str, schema: pa.Schema) -> RowWriter:
    """The writer of a format."""
    return ParquetRows(file, schema) if format == "parquet" else NdjsonRows(file)


class WriteTemporaryFiles(beam.DoFn):
    """Batches in, paths of closed temporary files out: one per bundle, more only for very many rows.

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

    def _open(self, schema: pa.Schema) -> None:
        self._path = join(self._folder, uuid.uuid4().hex)
        self._file = open_writing(self._path)
        self._writer = row_writer(self._file, self._format, schema)
        self._rows = 0

    def _close(self) -> None:
        self._writer.close()
        self._file.close()
        self._file = None
        self._finished.append(self._path)


class PublishFiles(beam.DoFn):
    """Gives complete files their final names and removes those of earlier runs. Safe to be tried again."""

    def __init__(self, folder: str, format: str, schema: pa.Schema, run: str) -> None:
        self._folder = folder
        self._format = format
        self._schema = schema
        self._run = run

    def process(self, _: None, temporary: list[str]) -> Iterable[str]:
        """The names of the published files."""
        check_held(self._folder, self._run)
        success = join(self._folder, "_SUCCESS")
        self._check_newest(success)
        remove([success])
        if not temporary:  # an empty output is a file without rows, so that readers find the columns
            temporary = [self._empty_file()]
        total = len(temporary)
        names = [f"part-{index:05d}-of-{total:05d}-{self._run}.{self._format}" for index in range(total)]
        move((source, join(self._folder, name)) for source, name in zip(sorted(temporary), names, strict=True))
        remove([path for path in ours(self._folder) if name_of(path) not in names])
        self._remove_temporary()
        write_whole(success, self._run.encode())
        yield from names

    def _check_newest(self, success: str) -> None:
        """Stops a run that was given up for dead: a later one took the folder, and has ended since."""
        with contextlib.suppress(FileNotFoundError):
            last = read_start(success, NAME_BYTES).decode(errors="replace")
            if is_later(last, self._run):
                message = f"was written by run {last}, which is later than this one ({self._run}): its rows stay"
                raise AnotherRunError(f"{redacted(self._folder)} {message}.")

    def _remove_temporary(self) -> None:
        """Files of this run and of earlier ones, which have died; a later one may be writing."""
        temporary = join(self._folder, "_temporary")
        runs = [name_of(folder) for folder in list_folders(temporary)]
        earlier = [run for run in runs if not is_later(run, self._run)]
        for folder in [join(temporary, run) for run in earlier] if len(earlier) < len(runs) else [temporary]:
            remove_folder(folder)

    def _empty_file(self) -> str:
        path = join(self._folder, "_temporary", self._run, "empty")
        with open_writing(path) as file:
            row_writer(file, self._format, self._schema).close()
        return path


def is_later(run: str, other: str) -> bool:
    """Whether a run began after another, as their names say, to the second."""
    return RUN.fullmatch(run) is not None and run.partition("_")[0] > other.partition("_")[0]


def ours(folder: str) -> list[str]:
    """Files in a folder that a run of ours has published."""
    return [found.path for found in list_folder(folder) if OUR_FILE.match(name_of(found.path))]


def name_of(path: str) -> str:
    """A file's own name."""
    return path.rpartition("/")[2]
