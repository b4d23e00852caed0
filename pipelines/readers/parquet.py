"""Parquet files: columns pass through untouched, only those of request fields become Python values."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from classer_core.errors import StorageError
from pipelines.chunks import CHUNK_BYTES, CHUNK_ROWS, SourceChunk
from pipelines.damage import DamagedFileError, decoding
from pipelines.readers import Columns, Part, file_failure
from pipelines.readers.arrow import chunk_of
from pipelines.storage import open_file

ROW_GROUPS_PER_PART = 8
SMALL_BYTES = 4 << 20


class ParquetReader:
    """Reads Parquet, a few row groups a part."""

    def schema(self, file: BinaryIO) -> pa.Schema:
        """The file's own schema."""
        with decoding(file):
            return pq.ParquetFile(file).schema_arrow.remove_metadata()

    def parts(self, path: str, size_bytes: int) -> list[Part]:
        """Runs of row groups; a small file is not opened for it."""
        if size_bytes <= SMALL_BYTES:
            return [Part()]
        with open_file(path) as file, decoding(file):
            groups = pq.ParquetFile(file).num_row_groups
        starts = range(0, max(groups, 1), ROW_GROUPS_PER_PART)
        return [Part(start, min(start + ROW_GROUPS_PER_PART, groups)) for start in starts]

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
                wanted = [c for c in dict.fromkeys([*columns.fields.values(), *columns.passed.names]) if c in present]
                groups = range(part.start, end)
                rows = _rows_at_once(parquet.metadata, groups, wanted)
                for batch in parquet.iter_batches(rows, row_groups=groups, columns=wanted):
                    positions = [f"{name}#{row + offset + 1}" for offset in range(len(batch))]
                    yield chunk_of(batch, columns, positions)
                    row += len(batch)
        except DamagedFileError as error:
            yield SourceChunk([], {}, empty[0], [file_failure(name, error, f" after row {row}" if row else "")])


def _rows_at_once(metadata: pq.FileMetaData, groups: Iterable[int], columns: Collection[str]) -> int:
    """How many rows make a chunk: fewer where they are large, as those with pictures in them are."""
    row_bytes = 1
    within = tuple(f"{column}." for column in columns)  # a name may have dots of its own
    for group in map(metadata.row_group, groups):
        found = map(group.column, range(group.num_columns))
        size = sum(part.total_uncompressed_size for part in found if f"{part.path_in_schema}.".startswith(within))
        row_bytes = max(row_bytes, size // max(group.num_rows, 1))
    return max(1, min(CHUNK_ROWS, CHUNK_BYTES // row_bytes))


def count_rows(paths: Iterable[str]) -> int:
    """Rows of whole files, from their footers; damaged files count nothing."""
    total = 0
    for path in paths:
        with contextlib.suppress(DamagedFileError, StorageError), open_file(path) as file, decoding(file):
            total += pq.ParquetFile(file).metadata.num_rows
    return total
