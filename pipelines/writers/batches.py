"""Rows of an output folder, read back as Arrow: for reports, which look at all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from classer_core.storage import join
from pipelines.damage import DamagedFileError, decoding
from pipelines.hive import values_of
from pipelines.storage import open_file

log = logging.getLogger(__name__)

ROWS_TOGETHER = 20_000


def batches_of_folder(
    folder: str, files: Sequence[str], schema: pa.Schema, columns: Mapping[str, str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of published files of a folder, as batches of a schema.

    Args:
        folder: of the output; folders below it may be partitions, whose values are columns.
        files: what to read. A damaged one is left out from where it is damaged, with a warning.
        schema: columns to return; null where a file lacks one, or holds another type.
        columns: column of the schema -> column of the files, where they differ.
    """
    given = {name: (columns or {}).get(name, name) for name in schema.names}
    for path in files:
        partitions = values_of(path, [join(folder, "**")])
        try:
            with open_file(path) as file, decoding(file):
                if path.endswith(".parquet"):
                    parquet = pq.ParquetFile(file)
                    there = [name for name in given.values() if name in parquet.schema_arrow.names]
                    for batch in parquet.iter_batches(ROWS_TOGETHER, columns=there):
                        yield fitted(
                            dict(zip(batch.schema.names, batch.columns, strict=True)),
                            len(batch),
                            schema,
                            given,
                            partitions,
                        )
                else:
                    lines = iter(file)
                    while rows := [orjson.loads(line) for line in islice(lines, ROWS_TOGETHER)]:
                        yield from_rows(rows, schema, given, partitions)
        except (DamagedFileError, ValueError, KeyError) as error:
            log.warning("%s: can't be read, it is not in the report: %s", path, str(error)[:200])


def from_rows(
    rows: Sequence[Mapping[str, Any]], schema: pa.Schema, given: Mapping[str, str], constants: Mapping[str, Any]
) -> pa.RecordBatch:
    """Return rows as a batch of a schema; see `fitted`."""
    values = {}
    for field in schema:
        column = [row.get(given[field.name]) for row in rows]
        try:
            values[given[field.name]] = pa.array(column, field.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            values[given[field.name]] = pa.nulls(len(rows), field.type)
    return fitted(values, len(rows), schema, given, constants)


def fitted(
    values: Mapping[str, pa.Array[Any]],
    rows: int,
    schema: pa.Schema,
    given: Mapping[str, str],
    constants: Mapping[str, Any],
) -> pa.RecordBatch:
    """Return columns as a batch of a schema.

    Args:
        values: column -> its values.
        rows: their number.
        schema: of the batch.
        given: column of the schema -> column of `values`.
        constants: column -> the value that all rows have.
    """
    arrays = []
    for field in schema:
        name = given[field.name]
        column: Any = values.get(name)
        try:
            if name in constants:
                arrays.append(pa.array([constants[name]] * rows, field.type))
            else:
                arrays.append(pa.nulls(rows, field.type) if column is None else column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            arrays.append(pa.nulls(rows, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
