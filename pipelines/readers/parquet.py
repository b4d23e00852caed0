"""Parquet files: columns pass through untouched, only those of request fields become Python values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from classer_core.errors import FailureCode, RecordError
from classer_core.records import Failure
from pipelines.chunks import CHUNK_ROWS, SourceChunk, record_json, row_values
from pipelines.readers import Columns, Part, file_failure, is_damage
from pipelines.storage import open_file

ROW_GROUPS_PER_PART = 8
SMALL_BYTES = 4 << 20


class ParquetReader:
    """Reads Parquet, a few row groups a part."""

    def schema(self, file: BinaryIO) -> pa.Schema:
        """The file's own schema."""
        return pq.ParquetFile(file).schema_arrow.remove_metadata()

    def parts(self, path: str, size_bytes: int) -> list[Part]:
        """Runs of row groups; a small file is not opened for it."""
        if size_bytes <= SMALL_BYTES:
            return [Part()]
        with open_file(path) as file:
            groups = pq.ParquetFile(file).num_row_groups
        starts = range(0, max(groups, 1), ROW_GROUPS_PER_PART)
        return [Part(start, min(start + ROW_GROUPS_PER_PART, groups)) for start in starts]

    def read(self, file: BinaryIO, part: Part, columns: Columns, name: str) -> Iterator[SourceChunk]:
        """Rows of the part's row groups; positions are row numbers, from 1."""
        empty = columns.passed.empty_table().to_batches() or [pa.RecordBatch.from_pylist([], schema=columns.passed)]
        row = 0
        try:
            parquet = pq.ParquetFile(file)
            end = parquet.num_row_groups if part.end is None else part.end
            row = sum(parquet.metadata.row_group(group).num_rows for group in range(part.start))
            present = set(parquet.schema_arrow.names)
            wanted = [c for c in dict.fromkeys([*columns.fields.values(), *columns.passed.names]) if c in present]
            groups = range(part.start, end)
            for batch in parquet.iter_batches(CHUNK_ROWS, row_groups=groups, columns=wanted):
                yield _chunk(batch, columns, name, row)
                row += len(batch)
        except Exception as error:
            if not is_damage(error):
                raise
            yield SourceChunk([], {}, empty[0], [file_failure(name, error, f" after row {row}" if row else "")])


def count_rows(paths: Iterable[str]) -> int:
    """Rows of whole files, from their footers; damaged files count nothing."""
    total = 0
    for path in paths:
        with contextlib.suppress(OSError, pa.ArrowException), open_file(path) as file:
            total += pq.ParquetFile(file).metadata.num_rows
    return total


def _chunk(batch: pa.RecordBatch, columns: Columns, name: str, first_row: int) -> SourceChunk:
    positions = [f"{name}#{first_row + offset + 1}" for offset in range(len(batch))]
    present = set(batch.schema.names)
    passed = [
        batch.column(item.name).cast(item.type) if item.name in present else pa.nulls(len(batch), item.type)
        for item in columns.passed
    ]
    rows = pa.RecordBatch.from_arrays(passed, schema=columns.passed)
    used = {field: column for field, column in columns.fields.items() if column in present}
    try:
        fields = {field: batch.column(column).to_pylist() for field, column in used.items()}
    except UnicodeDecodeError:
        return _without_invalid_text(batch, rows, used, positions)
    return SourceChunk(positions, fields, rows)


def _without_invalid_text(
    batch: pa.RecordBatch, rows: pa.RecordBatch, used: dict[str, str], positions: list[str]
) -> SourceChunk:
    """Rows whose strings are not UTF-8 become failures; the others stay."""
    good: list[int] = []
    values: list[dict[str, Any]] = []
    failures = []
    for row, position in enumerate(positions):
        try:
            values.append({field: batch.column(column)[row].as_py() for field, column in used.items()})
            good.append(row)
        except UnicodeDecodeError as error:
            failed = RecordError(FailureCode.ROW_NOT_UTF8, f"{position} has a string that is not UTF-8: {error}")
            failures.append(Failure.of(failed, position, "read", record_json(row_values(batch, row))))
    fields = {field: [row[field] for row in values] for field in used}
    return SourceChunk([positions[row] for row in good], fields, rows.take(pa.array(good, pa.int32())), failures)
