"""Hive partitions of an output: rows are written below folders such as `date=2026-11-24/label=billing/`.

As in Spark and Hive, the columns of the folders are not in the files.
"""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from classer_core.errors import FailureCode
from classer_core.filesystems import AT_ONCE
from classer_core.records import RESULT_SCHEMA, Failure, failures_to_arrow
from classer_core.storage import join, open_writing
from pipelines.chunks import record_json, row_values
from pipelines.classify import NAMESPACE
from pipelines.hive import folder_of
from pipelines.writers.files import row_writer
from pipelines.written import Written

REFUSED = "refused"
# Filesystems take names of 255 bytes, and object stores URLs of 1,024.
MAX_FOLDER_BYTES = 200
# Rows of a bundle that wait in memory, over all of its partitions.
PENDING_BYTES = 256 << 20
# Of one bundle. A column that has more values would give a file for every few rows.
MAX_PARTITIONS = 10_000
# Columns of results besides those of the source. `only: stale` reads the others from the files.
RESULT_PARTITIONS = ("label", "classifier", "model")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")  # readers skip folders that begin with `_` or `.`


class TooManyPartitionsError(RuntimeError):
    """A bundle has rows of more partitions than files should be made for."""


def unfit(column: str, schema: pa.Schema) -> str | None:
    """Return why rows can't be partitioned by a column; None if they can."""
    if column not in schema.names:
        return f"is not a column of the output. It has: {', '.join(schema.names)}"
    if column in RESULT_SCHEMA.names and column not in RESULT_PARTITIONS:
        return f"can't be a folder. Of the result columns, these can: {', '.join(RESULT_PARTITIONS)}"
    if not _NAME.fullmatch(column):
        return "is not a name for a folder: it needs letters, digits and underscores, a letter first"
    type_ = schema.field(column).type
    type_ = type_.value_type if isinstance(type_, pa.DictionaryType) else type_
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean, pa.types.is_date)
    return None if any(test(type_) for test in tests) else f"holds {type_}; text, integers, booleans and dates can be"


def folders_of(batch: pa.RecordBatch, columns: Sequence[str]) -> list[str]:
    """Return the folder of each row, as in `date=2026-11-24/label=billing`."""
    parts = [_folders(name, batch.column(name)) for name in columns]
    return ["/".join(row) for row in zip(*parts, strict=True)]


class WritePartitions(beam.PTransform[Any, Any]):
    """Writes batches to temporary files, each with the rows of one partition. What comes out is `Written`.

    A row whose value is too long for a folder's name is refused, and joins the failures.

    Args:
        folder: of the temporary files; partitions are folders in it.
        format: of the files.
        columns: by which rows are partitioned.
    """

    def __init__(self, folder: str, format: str, columns: Sequence[str]) -> None:
        super().__init__()
        self._write = WritePartitionsFn(folder, format, columns)

    def expand(self, batches: Any) -> Any:
        """One step."""
        written = batches | "Files" >> beam.ParDo(self._write).with_outputs(REFUSED, main="files")
        return Written((written[REFUSED],), written.files)


class WritePartitionsFn(beam.DoFn):
    """Gather the rows of a bundle by partition, and write each partition as a file; as several if they are many.

    No file is open before its rows are complete: thousands of partitions take no more memory than one.
    """

    def __init__(self, folder: str, format: str, columns: Sequence[str]) -> None:
        self._folder = folder
        self._format = format
        self._columns = tuple(columns)

    def start_bundle(self) -> None:
        """No rows wait yet."""
        self._pending: dict[str, list[pa.RecordBatch]] = defaultdict(list)
        self._bytes = 0
        self._seen: set[str] = set()
        self._finished: list[str] = []

    def process(self, batch: pa.RecordBatch) -> Iterable[Any]:
        """Yield the failures of rows that are refused."""
        rows: dict[str, list[int]] = defaultdict(list)
        for row, folder in enumerate(folders_of(batch, self._columns)):
            rows[folder].append(row)
        refused: list[int] = []
        for folder, places in rows.items():
            if max(map(len, folder.split("/"))) > MAX_FOLDER_BYTES:
                refused += places
                continue
            taken = batch.take(pa.array(places, pa.int32())).drop_columns(list(self._columns))
            self._pending[folder].append(taken)
            self._bytes += taken.nbytes
            self._seen.add(folder)
        if len(self._seen) > MAX_PARTITIONS:
            raise TooManyPartitionsError(
                f"output.partition_by = {', '.join(self._columns)}: the rows have more than {MAX_PARTITIONS:,} "
                "partitions, and would be as many files. Name columns of fewer values."
            )
        if self._bytes >= PENDING_BYTES:
            self._flush()
        if refused:
            yield beam.pvalue.TaggedOutput(REFUSED, self._failures(batch, sorted(refused)))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Yield the paths of the files."""
        self._flush()
        for path in self._finished:
            yield WindowedValue(path, MIN_TIMESTAMP, (GlobalWindow(),))

    def _flush(self) -> None:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            self._finished += threads.map(self._write_file, self._pending, self._pending.values())
        self._pending.clear()
        self._bytes = 0

    def _write_file(self, folder: str, batches: Sequence[pa.RecordBatch]) -> str:
        path = join(self._folder, *folder.split("/"), f"{uuid.uuid4().hex}.{self._format}")
        with open_writing(path) as file:
            writer = row_writer(file, self._format, batches[0].schema)
            for batch in batches:
                writer.write(batch)
            writer.close()
        return path

    def _failures(self, batch: pa.RecordBatch, places: Sequence[int]) -> pa.RecordBatch:
        failures = []
        for place in places:
            row = row_values(batch, place)
            long = next(
                name
                for name in self._columns
                if len(_folders(name, batch.column(name).slice(place, 1))[0]) > MAX_FOLDER_BYTES
            )
            message = f"column {long}: its value is too long for the name of a folder (output.partition_by)"
            failure = Failure(str(row["id"]), "write", FailureCode.ROW_REFUSED, message, long, record_json(row))
            failures.append(failure)
        Metrics.counter(NAMESPACE, f"failures.{FailureCode.ROW_REFUSED}").inc(len(failures))
        return failures_to_arrow(failures)


def _folders(name: str, array: pa.Array[Any]) -> list[str]:
    texts: Any = array.cast(pa.large_string()).cast(pa.large_binary())
    encoded = texts.dictionary_encode()
    names = [folder_of(name, value) for value in encoded.dictionary.to_pylist()]
    missing = folder_of(name, None)
    return [missing if index is None else names[index] for index in encoded.indices.to_pylist()]
