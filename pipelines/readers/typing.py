"""Types for rows that come without: found in a sample, kept for the whole job, and nothing lost that does not fit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

# Where values go that don't fit the types found: columns seen later, values of another type. JSON, or null.
# The name is the one of Databricks' Auto Loader.
RESCUED = "_rescued_data"
# Beyond so many keys or levels the keys of a column are data: each would be a column of its own, empty in most rows.
MAX_TYPE_KEYS = 300
MAX_TYPE_LEVELS = 16
MAX_SAMPLED_COLUMNS = 1_000
KEPT_AS = b"kept_as"
# Marks a column that is a folder of the files' paths (`partitions.py`).
PARTITION = {b"classer": b"partition"}


def infer_schema(rows: Sequence[Mapping[str, Any]]) -> pa.Schema:
    """Return the columns of sampled rows in order of appearance, and `_rescued_data` at the end.

    Of rows whose keys are data (`{"user_1": ..., "user_2": ...}`) only the most frequent keys are columns. A column
    whose values have such keys is kept as JSON text.
    """
    counts = Counter(name for row in rows for name in row if name != RESCUED)
    kept = {name for name, _ in counts.most_common(MAX_SAMPLED_COLUMNS)}
    fields = [_field_of(name, [row.get(name) for row in rows]) for name in counts if name in kept]
    return pa.schema([*fields, pa.field(RESCUED, pa.string())])


def unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The columns of all schemas. One that is kept as JSON in one of them is kept so in all.

    Raises:
        ArrowException: their types differ too much.
    """
    as_text = {item.name: item for schema in schemas for item in schema if is_json(item)}
    alike = [pa.schema([as_text.get(item.name, item) for item in schema]) for schema in schemas]
    return pa.unify_schemas(alike, promote_options="permissive")


def is_partition(item: pa.Field[Any]) -> bool:
    """Return whether a column is a folder of the files' paths."""
    return (item.metadata or {}).items() >= PARTITION.items()


def is_json(item: pa.Field[Any]) -> bool:
    """Whether a column's values are kept as JSON text, whatever they are."""
    return (item.metadata or {}).get(KEPT_AS) == b"json"


def _field_of(name: str, values: list[Any]) -> pa.Field[Any]:
    if _is_map_shaped(values):
        return pa.field(name, pa.string(), metadata={KEPT_AS: b"json"})
    return pa.field(name, _type_of(values))


def _is_map_shaped(values: list[Any]) -> bool:
    """Whether values have more keys in them, or more levels, than a type should have."""
    found: set[tuple[str, ...]] = set()
    pending: list[tuple[tuple[str, ...], Any]] = [((), value) for value in values if isinstance(value, dict | list)]
    while pending:
        path, value = pending.pop()
        if len(path) > MAX_TYPE_LEVELS:
            return True
        if isinstance(value, dict):
            inner = [((*path, key), item) for key, item in value.items()]
            found.update(key for key, _ in inner)
            if len(found) > MAX_TYPE_KEYS:
                return True
        else:
            inner = [((*path, "[]"), item) for item in value]
        pending += [(key, item) for key, item in inner if isinstance(item, dict | list)]
    return False


def fit_columns(
    rows: Sequence[Mapping[str, Any]], schema: pa.Schema, elsewhere: Collection[str] = ()
) -> pa.RecordBatch:
    """Return rows as an Arrow batch of `schema`; values that don't fit are kept in `_rescued_data`, if it has that.

    `elsewhere`: columns that are on their way as request fields, and need no rescue.
    """
    rescued: list[dict[str, Any]] = [{} for _ in rows]
    arrays = {}
    for item in schema:
        if item.name == RESCUED:
            continue
        values = [row.get(item.name) for row in rows]
        arrays[item.name] = _array(values, item, rescued)
    if RESCUED in schema.names:
        known = {*schema.names, *elsewhere} - {RESCUED}
        for row, kept in zip(rows, rescued, strict=True):
            if not row.keys() <= known:
                kept.update((name, value) for name, value in row.items() if name not in known)
        arrays[RESCUED] = pa.array([as_json(kept) if kept else None for kept in rescued], pa.string())
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _array(values: list[Any], item: pa.Field[Any], rescued: list[dict[str, Any]]) -> Any:
    if is_json(item):
        return pa.array([None if value is None else as_json(value) for value in values], pa.string())
    nested = pa.types.is_nested(item.type)
    try:
        # Arrow drops struct keys that it does not know: nested values are looked at one by one.
        if not nested or all(_fits(value, item.type) for value in values):
            return pa.array(values, item.type)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        pass
    kept: list[Any] = []
    for value, row in zip(values, rescued, strict=True):
        if _fits(value, item.type):
            kept.append(value)
        else:
            kept.append(None)
            row[item.name] = value
    return pa.array(kept, item.type)


def _fits(value: Any, type_: pa.DataType) -> bool:
    if value is None:
        return True
    if isinstance(type_, pa.StructType):
        known = {item.name: item.type for item in type_}
        if not isinstance(value, dict):
            return False
        return all(name in known and _fits(inner, known[name]) for name, inner in value.items())
    if isinstance(type_, pa.ListType):
        return isinstance(value, list) and all(_fits(inner, type_.value_type) for inner in value)
    try:
        return bool(pa.scalar(value, type_).as_py() == value)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return False


def _type_of(values: list[Any]) -> pa.DataType:
    try:
        found: pa.DataType = pa.infer_type(values)  # type: ignore[call-arg]  # the stubs demand a mask
    except (pa.ArrowException, OverflowError):
        return pa.string()
    return _without_nulls(found)


def _without_nulls(type_: pa.DataType) -> pa.DataType:
    """Columns that are empty in the sample are strings, at any depth; a struct without keys can't be written."""
    if pa.types.is_null(type_):
        return pa.string()
    if isinstance(type_, pa.ListType):
        return pa.list_(_without_nulls(type_.value_type))
    if isinstance(type_, pa.StructType):
        if type_.num_fields == 0:
            return pa.string()
        return pa.struct([pa.field(item.name, _without_nulls(item.type)) for item in type_])
    return type_


def as_json(value: Any) -> str:
    """Return a value that came as JSON as JSON again."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # integers of more than 64 bits, lone surrogates
        return json.dumps(value, default=str)
