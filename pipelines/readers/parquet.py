"""Parquet files: columns pass through untouched, only those of request fields become Python values."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from classer_core.errors import StorageError
from pipelines.chunks import CHUNK_BYTES, CHUNK_ROWS, SourceChunk
from pipelines.damage import DamagedFileError, decoding
from pipelines.readers import Columns, Part, file_failure
from pipelines.readers.arrow import check_width, chunk_of, together
from pipelines.storage import open_file

SMALL_BYTES = 4 << 20
# Row groups of fewer bytes (compressed) than these share a part: each part opens the file anew.
PART_BYTES = 16 << 20
# What one read may decode to. The file's own sizes don't tell: a value that is stored once may stand in every row.
DECODED_BYTES = 64 << 20
# Of numbers and times, which take less in the file where they repeat.
VALUE_BYTES = 8
# Read at once from the storage when only the start of a column is looked at.
BUFFER_BYTES = 1 << 16
REPEATING = {"PLAIN_DICTIONARY", "RLE_DICTIONARY", "DELTA_BYTE_ARRAY"}


class ParquetReader:
    """Reads Parquet, a row group a part, or several small ones."""

    def schema(self, file: BinaryIO) -> pa.Schema:
        """The file's own schema."""
        with decoding(file):
            schema = pq.ParquetFile(file).schema_arrow.remove_metadata()
            check_width(len(schema))
            return schema

    def parts(self, path: str, size_bytes: int) -> list[Part]:
        """Return runs of row groups. A small file is not opened for it.

        A row group is not divided: its rows can only be read from its start. What comes of it is redistributed.
        """
        if size_bytes <= SMALL_BYTES:
            return [Part()]
        with open_file(path) as file, decoding(file):
            sizes = _compressed_bytes(pq.ParquetFile(file).metadata)
        starts, part_bytes = [0], 0
        for group, size in enumerate(sizes):
            if part_bytes and part_bytes + size > PART_BYTES:
                starts.append(group)
                part_bytes = 0
            part_bytes += size
        return [Part(start, end) for start, end in zip(starts, [*starts[1:], len(sizes)], strict=True)]

    def read(self, file: BinaryIO, part: Part, columns: Columns, name: str) -> Iterator[SourceChunk]:
        """Rows of the part's row groups; positions are row numbers, from 1."""
        empty = columns.passed.empty_table().to_batches() or [pa.RecordBatch.from_pylist([], schema=columns.passed)]
        row = 0
        try:
            with decoding(file):
                parquet = pq.ParquetFile(file)
                end = parquet.num_row_groups if part.end is None else part.end
                row = sum(parquet.metadata.row_group(group).num_rows for group in range(part.start))
                present = set(parquet.schema_arrow.names)
                wanted = [column for column in columns.needed if column in present]
                check_width(len(present))
                for group in range(part.start, end):
                    rows = _rows_at_once(file, parquet.metadata, group, wanted)
                    for batch in together(parquet.iter_batches(rows, row_groups=[group], columns=wanted)):
                        positions = [f"{name}#{row + offset + 1}" for offset in range(len(batch))]
                        yield chunk_of(batch, columns, positions)
                        row += len(batch)
        except DamagedFileError as error:
            yield SourceChunk([], {}, empty[0], [file_failure(name, error, f" after row {row}" if row else "")])


def _compressed_bytes(metadata: pq.FileMetaData) -> list[int]:
    """Return the bytes of each row group in the file."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    return [sum(group.column(n).total_compressed_size for n in range(group.num_columns)) for group in groups]


def _rows_at_once(file: BinaryIO, metadata: pq.FileMetaData, group: int, columns: Collection[str]) -> int:
    """How many rows of a row group are decoded at once: fewer where they are large, or may be."""
    row_group = metadata.row_group(group)
    rows = max(row_group.num_rows, 1)
    within = tuple(f"{column}." for column in columns)  # a name may have dots of its own
    row_bytes = largest = 1
    for number in range(row_group.num_columns):
        column = row_group.column(number)
        if not f"{column.path_in_schema}.".startswith(within):
            continue
        row_bytes += max(column.total_uncompressed_size, column.num_values * VALUE_BYTES) // rows
        if column.physical_type == "BYTE_ARRAY" and REPEATING.intersection(column.encodings):
            largest += _largest_value(file, metadata, group, number) * -(-column.num_values // rows)
    return max(1, min(CHUNK_ROWS, CHUNK_BYTES // row_bytes, DECODED_BYTES // largest))


def _largest_value(file: BinaryIO, metadata: pq.FileMetaData, group: int, number: int) -> int:
    """Bytes of the longest value that a column of strings may repeat: of its dictionary, or else of all it stores."""
    column = metadata.row_group(group).column(number)
    if not column.has_dictionary_page or "DELTA_BYTE_ARRAY" in column.encodings:
        return int(column.total_uncompressed_size)
    path = column.path_in_schema
    probe = pq.ParquetFile(file, metadata=metadata, read_dictionary=[path], buffer_size=BUFFER_BYTES)
    # One row brings the whole dictionary, and nothing else of the column.
    batch = next(probe.iter_batches(1, row_groups=[group], columns=[path], use_threads=False), None)
    values = None if batch is None or not batch.num_columns else _dictionary(batch.column(0))
    if values is None:
        return int(column.total_uncompressed_size)
    return int(pc.max(pc.binary_length(values.cast(pa.large_binary()))).as_py() or 0)


def _dictionary(array: Any) -> Any:
    """The dictionary of an array's only leaf; None where it is not encoded with one."""
    while not isinstance(array, pa.DictionaryArray):
        if isinstance(array, pa.StructArray) and array.type.num_fields:
            array = array.field(0)
        elif isinstance(array, pa.ListArray | pa.LargeListArray):
            array = array.values
        else:
            return None
    return array.dictionary


def count_rows(paths: Iterable[str]) -> int:
    """Rows of whole files, from their footers; damaged files count nothing."""
    total = 0
    for path in paths:
        with contextlib.suppress(DamagedFileError, StorageError), open_file(path) as file, decoding(file):
            total += pq.ParquetFile(file).metadata.num_rows
    return total
