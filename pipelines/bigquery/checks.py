"""RowCheck: which rows a table would refuse, and why, before they are sent: one bad row makes BigQuery refuse them all.

BigQuery says which rows of a request it refuses, too (see `append`); a load job only says that one of them is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.bigquery.schema import arrow_schema, type_of

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField

# An AppendRows request may have 10 MB, and a row is no smaller than what it is in Arrow.
MAX_ROW_BYTES = 9_500_000
# BigQuery knows days from 0001-01-01 to 9999-12-31.
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Refusal:
    """A row that the table does not take: its number, the column at fault, and what is wrong."""

    row: int
    column: str | None
    reason: str


class RowCheck:
    """Return the rows of batches that a table takes, with its types and its order of columns.

    Args:
        schema: of the batches.
        table: the table's columns.
        key: columns that must have a value, whatever the table says.
    """

    def __init__(self, schema: pa.Schema, table: Sequence[SchemaField], key: Collection[str] = ()) -> None:
        places = {name.lower(): place for place, name in enumerate(schema.names)}
        self._fields = [field for field in table if field.name.lower() in places]
        self._places = [places[field.name.lower()] for field in self._fields]
        self._key = {name.lower() for name in key}
        self.schema = arrow_schema(self._fields)

    def check(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Refusal]]:
        """The good rows, and what is wrong with the others: one refusal a row."""
        refused: dict[int, Refusal] = {}
        columns = []
        for field, place, wanted in zip(self._fields, self._places, self.schema, strict=True):
            column, wrong = converted(batch.column(place), wanted.type)
            columns.append(column)
            for row, reason in [*wrong.items(), *self._problems(field, column)]:
                refused.setdefault(row, Refusal(row, field.name, reason))
        good = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        if good.nbytes > MAX_ROW_BYTES:
            for row in range(len(good)):
                if (size := good.slice(row, 1).nbytes) > MAX_ROW_BYTES:
                    reason = f"the row has {size:,} bytes, BigQuery takes {MAX_ROW_BYTES:,}"
                    refused.setdefault(row, Refusal(row, None, reason))
        if refused:
            good = good.take(pa.array([row for row in range(len(good)) if row not in refused], pa.int32()))
        return good, sorted(refused.values(), key=lambda refusal: refusal.row)

    def _problems(self, field: SchemaField, column: Any) -> Iterator[tuple[int, str]]:
        name, type_ = type_of(field), column.type
        if field.mode == "REPEATED":
            if column.null_count < len(column) and (flat := pc.list_flatten(column)).null_count:
                for row in pc.unique(pc.list_parent_indices(column).filter(pc.is_null(flat))).to_pylist():
                    yield row, "an element of the list has no value, which BigQuery does not take"
            return
        if column.null_count:
            key = field.name.lower() in self._key
            if field.mode == "REQUIRED" or key:
                reason = "the key has no value" if key else "no value, and the column is REQUIRED"
                yield from ((row, reason) for row in _rows(pc.is_null(column)))
            if column.null_count == len(column):
                return
        if field.max_length is not None and name in ("STRING", "BYTES"):
            lengths = pc.utf8_length(column) if name == "STRING" else pc.binary_length(column)
            for row in _rows(pc.greater(lengths, field.max_length)):
                yield row, f"a length of {lengths[row].as_py():,}, and the column is {name}({field.max_length})"
        if name in ("NUMERIC", "BIGNUMERIC"):
            yield from _decimal_problems(field, name, column)
        if pa.types.is_date(type_) or pa.types.is_timestamp(type_):
            unit = 1 if pa.types.is_date(type_) else DAY_US
            values = column.cast(pa.int32() if unit == 1 else pa.int64())
            low, high = pa.scalar(FIRST_DAY * unit, values.type), pa.scalar((LAST_DAY + 1) * unit - 1, values.type)
            for row in _rows(pc.or_(pc.less(values, low), pc.greater(values, high))):
                yield row, f"outside the years 1 to 9999 of {name}"


def converted(column: Any, type_: Any) -> tuple[pa.Array[Any], dict[int, str]]:
    """A column as another type, and the rows whose values don't fit, which have none then."""
    options: Any = pc.CastOptions(target_type=type_, allow_time_truncate=True)
    try:
        found = column.cast(options=options)
        found.validate(full=True)
        return found, {}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    values, wrong = [], {}
    for row in range(len(column)):
        try:
            value = column.slice(row, 1).cast(options=options)
            value.validate(full=True)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            wrong[row] = f"does not fit: {str(error).splitlines()[0][:200]}"
            value = pa.nulls(1, type_)
        values.append(value)
    return pa.concat_arrays(values), wrong


def _decimal_problems(field: SchemaField, name: str, column: pa.Array[Any]) -> Iterator[tuple[int, str]]:
    """Too many digits before the point. Those behind it BigQuery rounds, as everywhere."""
    digits, scale = (29, 9) if name == "NUMERIC" else (38, 38)
    if field.precision is not None:
        digits, scale = field.precision - (field.scale or 0), field.scale or 0
        name = f"{name}({field.precision}, {scale})"
    for row, value in enumerate(column.to_pylist()):
        if value is not None and abs(value) >= 10**digits:
            yield row, f"{value} is outside {name}"


def _rows(mask: Any) -> list[int]:
    return [int(row) for row in pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist()]
