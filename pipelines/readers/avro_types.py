"""Types of Avro as types of Arrow, for schemas that whoever wrote the file has chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipelines.readers.arrow import MAX_COLUMNS
from pipelines.readers.typing import KEPT_AS

# Types within types, and types in all: a name may be used often, and stands for a whole type each time.
MAX_LEVELS = 64
MAX_TYPES = MAX_COLUMNS
AS_JSON = {KEPT_AS: b"json"}
_PRIMITIVE: dict[str, pa.DataType] = {
    "null": pa.string(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
    "fixed": pa.binary(),
}
_LOGICAL: dict[str, pa.DataType] = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms", tz="UTC"),
    "timestamp-micros": pa.timestamp("us", tz="UTC"),
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
    "uuid": pa.string(),
}


def arrow_schema(schema: Any) -> pa.Schema:
    """Return the columns of records of an Avro schema.

    Maps, and unions of more than one type and null, are kept as JSON text.

    Raises:
        ArrowInvalid: it is not a schema of records; a type contains itself, without end; or records or items of arrays
            take no bytes, so that a small file could hold any number of them.
    """
    types = _Types()
    if not isinstance(schema, Mapping) or schema.get("type") not in ("record", "error"):
        raise pa.ArrowInvalid("its rows are not records")
    fields = types.fields_of(schema, 0)
    if not types.takes_bytes(schema):
        raise pa.ArrowInvalid("its records take no bytes")
    return pa.schema(fields)


class _Types:
    """The named types of a schema, and how many types it has in all."""

    def __init__(self) -> None:
        self._named: dict[str, Any] = {}
        self._open: set[str] = set()
        self._count = 0

    def fields_of(self, record: Mapping[str, Any], levels: int) -> list[pa.Field[Any]]:
        """Return the fields of a record."""
        name = str(record.get("name"))
        self._named[name] = record
        if name in self._open:
            raise pa.ArrowInvalid(f"its type {name!r} contains itself")
        self._open.add(name)
        fields = [self._field(str(item["name"]), item["type"], levels + 1) for item in record["fields"]]
        self._open.discard(name)
        return fields

    def takes_bytes(self, type_: Any) -> bool:
        """Return whether a value of a type, which has been looked at, takes at least one byte."""
        type_ = self._named.get(type_, type_) if isinstance(type_, str) else type_
        if isinstance(type_, list):
            return True
        if not isinstance(type_, Mapping):
            return bool(type_ != "null")
        if type_["type"] in ("record", "error"):
            return any(self.takes_bytes(item["type"]) for item in type_["fields"])
        if type_["type"] == "fixed":
            return bool(type_["size"])
        return self.takes_bytes(type_["type"]) if type_["type"] not in ("array", "map", "enum") else True

    def _field(self, name: str, type_: Any, levels: int) -> pa.Field[Any]:
        found = self._type(type_, levels)
        return pa.field(name, pa.string(), metadata=AS_JSON) if found is None else pa.field(name, found)

    def _type(self, type_: Any, levels: int) -> pa.DataType | None:
        """Return the type of Arrow; None for what is kept as JSON."""
        self._count += 1
        if levels > MAX_LEVELS or self._count > MAX_TYPES:
            raise pa.ArrowInvalid(f"its types are nested in more than {MAX_LEVELS} levels, or more than {MAX_TYPES:,}")
        if isinstance(type_, list):
            inner = [self._type(item, levels + 1) for item in type_ if item != "null"]
            return inner[0] if len(inner) == 1 else None
        if isinstance(type_, str):
            if type_ in self._named:
                return self._type(self._named[type_], levels)
            if type_ not in _PRIMITIVE:
                raise pa.ArrowInvalid(f"its type {type_!r} is unknown")
            return _PRIMITIVE[type_]
        return self._complex(type_, levels)

    def _complex(self, type_: Mapping[str, Any], levels: int) -> pa.DataType | None:
        kind, logical = type_["type"], type_.get("logicalType")
        if kind in ("record", "error"):
            fields = self.fields_of(type_, levels)
            return pa.struct(fields) if fields and not any(item.metadata for item in fields) else None
        if kind == "array":
            items = self._type(type_["items"], levels + 1)
            if not self.takes_bytes(type_["items"]):
                raise pa.ArrowInvalid("items of its arrays take no bytes")
            return None if items is None else pa.list_(items)
        if kind == "map":
            self._type(type_["values"], levels + 1)
            return None
        if "name" in type_:
            self._named[str(type_["name"])] = type_
        if logical == "decimal" and 0 < type_["precision"] <= 38:
            return pa.decimal128(type_["precision"], type_.get("scale", 0))
        if logical in _LOGICAL:
            return _LOGICAL[logical]
        return self._type(kind, levels)
