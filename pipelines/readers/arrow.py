"""Arrow batches of a source: columns pass through untouched, only those of request fields become Python values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from classer_core.errors import FailureCode, RecordError
from classer_core.records import Failure
from pipelines.chunks import CHUNK_BYTES, CHUNK_ROWS, SourceChunk, record_json, row_values
from pipelines.readers import Columns
from pipelines.readers.nested import array_at

# A file of more columns than this is a bomb, or not a table.
MAX_COLUMNS = 10_000


def check_width(columns: int) -> None:
    """Raise if a file has more columns than a table has: it counts as damaged."""
    if columns > MAX_COLUMNS:
        raise pa.ArrowInvalid(f"it has {columns:,} columns, where {MAX_COLUMNS:,} are allowed")


def chunk_of(batch: pa.RecordBatch, columns: Columns, positions: list[str]) -> SourceChunk:
    """Return a batch as a chunk, with Python values of its request fields; `positions` has one per row."""
    present = set(batch.schema.names)
    passed = [
        batch.column(item.name).cast(item.type) if item.name in present else pa.nulls(len(batch), item.type)
        for item in columns.passed
    ]
    rows = pa.RecordBatch.from_arrays(passed, schema=columns.passed)
    found = {field: array_at(batch, columns.path_of(column)) for field, column in columns.fields.items()}
    arrays = {field: array for field, array in found.items() if array is not None}
    try:
        fields = {field: array.to_pylist() for field, array in arrays.items()}
    except UnicodeDecodeError:
        return _without_invalid_text(batch, rows, arrays, positions)
    return SourceChunk(positions, fields, rows)


def _without_invalid_text(
    batch: pa.RecordBatch, rows: pa.RecordBatch, arrays: dict[str, pa.Array[Any]], positions: list[str]
) -> SourceChunk:
    """Rows whose strings are not UTF-8 become failures; the others stay."""
    good: list[int] = []
    values: list[dict[str, Any]] = []
    failures = []
    for row, position in enumerate(positions):
        try:
            values.append({field: array[row].as_py() for field, array in arrays.items()})
            good.append(row)
        except UnicodeDecodeError as error:
            failed = RecordError(FailureCode.ROW_NOT_UTF8, f"{position} has a string that is not UTF-8: {error}")
            failures.append(Failure.of(failed, position, "read", record_json(row_values(batch, row))))
    fields = {field: [row[field] for row in values] for field in arrays}
    return SourceChunk([positions[row] for row in good], fields, rows.take(pa.array(good, pa.int32())), failures)


def together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of a chunk's size: what was decoded in one step may be smaller, or larger."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        if batch.nbytes > CHUNK_BYTES:
            yield from ([_joined(held)] if held else [])
            held, rows, size = [], 0, 0
            step = max(1, len(batch) * CHUNK_BYTES // batch.nbytes)
            yield from (batch.slice(start, step) for start in range(0, len(batch), step))
            continue
        if held and (rows + len(batch) > CHUNK_ROWS or size + batch.nbytes > CHUNK_BYTES):
            yield _joined(held)
            held, rows, size = [], 0, 0
        held.append(batch)
        rows, size = rows + len(batch), size + batch.nbytes
    if held:
        yield _joined(held)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    joined: pa.RecordBatch = pa.concat_batches(batches)  # type: ignore[attr-defined]  # the stubs lack it
    return joined
