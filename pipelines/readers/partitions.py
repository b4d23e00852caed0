"""Hive partitions of an input: folders such as `date=2026-11-24/` are columns of the rows below them.

As in Spark, only folders that a pattern leaves open count: `data/date=2026-11-24/*.parquet` has no such column,
`data/*/*.parquet` and `data/**` have one. Values are strings; a column of the files' own with that name comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from pipelines.chunks import SourceChunk
from pipelines.hive import values_of
from pipelines.readers import Columns
from pipelines.readers.typing import PARTITION


def with_partitions(schema: pa.Schema, paths: Iterable[str], patterns: Sequence[str]) -> pa.Schema:
    """Return the columns of files and, behind them, those of their partitions."""
    names = dict.fromkeys(name for path in paths for name in values_of(path, patterns))
    for name in names:
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.string(), metadata=PARTITION))
    return schema


def in_files(columns: Columns) -> Columns:
    """Return the columns without those of partitions, which no file has."""
    fields = {field: column for field, column in columns.fields.items() if column not in columns.partitions}
    passed = pa.schema([item for item in columns.passed if item.name not in columns.partitions])
    return replace(columns, fields=fields, passed=passed)


def add_values(
    chunks: Iterator[SourceChunk], columns: Columns, values: Mapping[str, str | None]
) -> Iterator[SourceChunk]:
    """Yield the chunks of a file with the values of its partitions.

    Args:
        chunks: with the columns of `in_files(columns)`.
        columns: what the job takes.
        values: partition -> value of the file.
    """
    for chunk in chunks:
        count = len(chunk.positions)
        of_partitions = {
            field: [values.get(column)] * count
            for field, column in columns.fields.items()
            if column in columns.partitions
        }
        arrays = [
            pa.array([values.get(item.name)] * count, item.type)
            if item.name in columns.partitions
            else chunk.rows.column(item.name)
            for item in columns.passed
        ]
        rows = pa.RecordBatch.from_arrays(arrays, schema=columns.passed)
        yield replace(chunk, fields={**chunk.fields, **of_partitions}, rows=rows)
