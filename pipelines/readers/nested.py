"""Fields inside columns: `ticket.body` is the field `body` of the column `ticket`.

A column whose own name is `ticket.body` comes first, and names inside may hold dots as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.readers.typing import is_json

Path = tuple[str, ...]


def find_path(schema: pa.Schema, column: str) -> tuple[Path, pa.DataType] | None:
    """Return where a dotted name leads among a source's columns, and the type there; None if nowhere.

    Values inside a column that is kept as JSON text may be of any type: they count as strings.

    >>> find_path(pa.schema([("ticket", pa.struct([("body", pa.string())]))]), "ticket.body")
    (('ticket', 'body'), DataType(string))
    """
    for head, rest in _splits(column):
        if head not in schema.names:
            continue
        field = schema.field(head)
        if rest is None:
            return (head,), field.type
        if is_json(field):
            return (head, *rest.split(".")), pa.string()
        inner = find_path(pa.schema(list(field.type)), rest) if isinstance(field.type, pa.StructType) else None
        if inner is not None:
            return (head, *inner[0]), inner[1]
    return None


def value_at(row: Mapping[str, Any], path: Path) -> Any:
    """Return the value of a row at a path; None where the path ends before.

    >>> value_at({"ticket": {"body": "hello"}}, ("ticket", "body")), value_at({"ticket": 3}, ("ticket", "body"))
    ('hello', None)
    """
    value: Any = row
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def value_of(row: Mapping[str, Any], column: str) -> Any:
    """Return the value of a row by a dotted name, where no schema says what leads where.

    >>> value_of({"a.b": 1, "a": {"b": 2}}, "a.b"), value_of({"a": {"b": 2}}, "a.b")
    (1, 2)
    """
    for head, rest in _splits(column):
        value = row.get(head)
        if rest is None and value is not None:
            return value
        if rest is not None and isinstance(value, Mapping) and (inner := value_of(value, rest)) is not None:
            return inner
    return None


def array_at(batch: pa.RecordBatch, path: Path) -> pa.Array[Any] | None:
    """Return the array (n_rows,) of a batch at a path, null wherever one of its ancestors is; None if there is none."""
    if path[0] not in batch.schema.names:
        return None
    array: pa.Array[Any] = batch.column(path[0])
    for name in path[1:]:
        if not isinstance(array.type, pa.StructType) or array.type.get_field_index(name) < 0:
            return None
        array = pc.struct_field(array, array.type.get_field_index(name))
    return array


def _splits(column: str) -> Iterator[tuple[str, str | None]]:
    """Yield (head, rest) of a name at each of its dots, the longest head first; the whole name has no rest."""
    yield column, None
    parts = column.split(".")
    for length in range(len(parts) - 1, 0, -1):
        yield ".".join(parts[:length]), ".".join(parts[length:])
