"""Types of Arrow and of BigQuery: columns of a table out of an Arrow schema, and the other way round."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from classer_core.errors import Problem
from classer_core.records import FAILURE_SCHEMA
from pipelines.bigquery.names import is_column
from pipelines.chunks import free_names

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField

CLASSIFIED_AT = pa.field("classified_at", pa.timestamp("us", tz="UTC"), nullable=False)
RESULT_DESCRIPTIONS = {
    "id": "The record's id.",
    "label": "The label (mode single); null where the answer abstained.",
    "labels": "The labels above the threshold, best first (mode multi).",
    "confidence": "0 to 1, calibrated: of rows at 0.8 about 80% are right.",
    "abstained": "The confidence was below the job's min_confidence.",
    "tokens": "What the model read of the record.",
    "visual_tokens": "Image tokens among them; null if nothing was looked at.",
    "latency_ms": "The record's own time, in milliseconds.",
    "cached": "Not read: the answer came from the cache, or from an identical record.",
    "classifier": "Saved classifier as name@vN, or inline: and the digest of labels and descriptions.",
    "model": "Model, digest of its weights, number format.",
    "coverage": "Share of the record's content that was read.",
    "evidence": "The page or picture that weighed most.",
    "fingerprint": "Digest of all that can change the answer.",
    "scores": "The best labels with their confidences, best first (scores: in the job).",
    "classified_at": "When the row was written.",
}
FAILURE_DESCRIPTIONS = {
    "id": "The record's id.",
    "stage": "Where it failed: read, fetch, expand, classify or write.",
    "code": "A stable code of what is wrong.",
    "message": "What is wrong, with the value and its place.",
    "field": "The request field or the column at fault.",
    "record": "The record, as JSON.",
    "attempted_at": "When it failed.",
}
# BigQuery's legacy names of types, which its REST API answers with.
STANDARD = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "STRUCT": "RECORD", "DECIMAL": "NUMERIC"}
ARROW_TYPES: dict[str, pa.DataType] = {
    "STRING": pa.string(),
    "JSON": pa.string(),
    "GEOGRAPHY": pa.string(),
    "BYTES": pa.binary(),
    "INT64": pa.int64(),
    "FLOAT64": pa.float64(),
    "BOOL": pa.bool_(),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal256(76, 38),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "DATETIME": pa.timestamp("us"),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}
# Types that Arrow has as strings are told by the metadata that BigQuery itself sets.
DESCRIPTION = b"description"
EXTENSION = b"ARROW:extension:name"
EXTENSIONS = {"JSON": b"google:sqlType:json", "GEOGRAPHY": b"google:sqlType:geography"}
# What a column may be written to beside its own type: nothing is lost on the way.
WIDER = {"INT64": ("NUMERIC", "BIGNUMERIC"), "NUMERIC": ("BIGNUMERIC",)}


class UnsupportedTypeError(ValueError):
    """An Arrow type that no column of BigQuery can hold, or that can't be read."""


def type_of(field: SchemaField) -> str:
    """A column's type by its standard name, without parameters."""
    name = field.field_type.partition("(")[0].upper()
    return STANDARD.get(name, name)


def result_table_schema(results: pa.Schema) -> pa.Schema:
    """Return the columns of a table of results: those of the rows, and when they were written.

    A column of the source that is named `classified_at` gets the prefix `input_`, as in `output_schema`.
    """
    names = free_names(results.names, [CLASSIFIED_AT.name])
    return pa.schema([*(item.with_name(name) for item, name in zip(results, names, strict=True)), CLASSIFIED_AT])


def table_fields(schema: pa.Schema) -> list[SchemaField]:
    """Return the columns of a table for an Arrow schema, each with a description: the source's, if it has one.

    Raises:
        UnsupportedTypeError: a type that BigQuery lacks.
    """
    own = FAILURE_DESCRIPTIONS if schema.names == FAILURE_SCHEMA.names else RESULT_DESCRIPTIONS
    fields = []
    for item in schema:
        given = (item.metadata or {}).get(DESCRIPTION, b"").decode()
        described = own.get(item.name) or given or "A column of the source."
        fields.append(_field(item, described))
    return fields


def arrow_schema(fields: Iterable[SchemaField]) -> pa.Schema:
    """Return the Arrow schema of a table's rows.

    Raises:
        UnsupportedTypeError: a column that can't be read or written through Arrow.
    """
    return pa.schema([_arrow_field(field) for field in fields])


def schema_problems(place: str, schema: pa.Schema) -> list[Problem]:
    """Columns that no table of BigQuery can have."""
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    remedy = "Name the columns to keep in `passthrough:`, or give it another name in the source."
    for item in schema:
        if not is_column(item.name):
            message = "is not a name for a column of BigQuery: letters, digits and underscores are"
            problems.append(Problem(place, repr(item.name), message, remedy))
        elif (other := seen.get(item.name.lower())) is not None:
            message = f"is the same as {other!r} for BigQuery, which ignores case"
            problems.append(Problem(place, repr(item.name), message, remedy))
        seen.setdefault(item.name.lower(), item.name)
        try:
            _field(item, "")
        except UnsupportedTypeError as error:
            problems.append(Problem(place, repr(item.name), str(error), remedy))
    return problems


def differences(place: str, schema: pa.Schema, table: list[SchemaField]) -> tuple[list[SchemaField], list[Problem]]:
    """Compare our rows with a table that exists: columns to be added, and problems."""
    there = {field.name.lower(): field for field in table}
    new, problems = [], []
    for wanted in table_fields(schema):
        field = there.pop(wanted.name.lower(), None)
        if field is None:
            new.append(wanted)
        elif (ours := _spelled(wanted)) != (theirs := _spelled(field)) and not _widens(wanted, field):
            message = f"is {theirs} in the table and {ours} in this job; types are not changed"
            remedy = "Cast it in a query of the source, leave it out of `passthrough:`, or write to another table."
            problems.append(Problem(place, wanted.name, message, remedy))
    for field in there.values():
        if field.mode == "REQUIRED" and field.default_value_expression is None:
            message, remedy = "is REQUIRED in the table, and the job has no such column", "Pass it, or relax its mode."
            problems.append(Problem(place, field.name, message, remedy))
    return new, problems


def _widens(ours: SchemaField, theirs: SchemaField) -> bool:
    return type_of(theirs) in WIDER.get(type_of(ours), ()) and (ours.mode == "REPEATED") == (theirs.mode == "REPEATED")


def _spelled(field: SchemaField) -> str:
    """A type as SQL writes it. Modes but REPEATED, lengths and precisions are checked row by row.

    Arrow finds the fields of a struct by their exact names: one in another case would lose its values.
    """
    name = type_of(field)
    if name == "RECORD":
        name = f"STRUCT<{', '.join(f'{item.name} {_spelled(item)}' for item in field.fields)}>"
    return f"ARRAY<{name}>" if field.mode == "REPEATED" else name


def _field(item: pa.Field[Any], description: str) -> SchemaField:
    from google.cloud.bigquery import SchemaField

    type_ = item.type.value_type if isinstance(item.type, pa.DictionaryType) else item.type
    mode = "NULLABLE" if item.nullable else "REQUIRED"
    described: Any = description or None  # the library takes None, though its types do not say so
    if pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_):
        type_, mode = type_.value_type, "REPEATED"
        if pa.types.is_nested(type_) and not pa.types.is_struct(type_):
            raise UnsupportedTypeError(f"is {item.type}, and BigQuery has no lists of lists")
    if pa.types.is_struct(type_):
        if type_.num_fields == 0:
            raise UnsupportedTypeError("is a struct without fields, which BigQuery has not")
        inner = [_field(type_.field(n).with_nullable(True), "") for n in range(type_.num_fields)]
        return SchemaField(item.name, "RECORD", mode, description=described, fields=inner)
    extension = (item.metadata or {}).get(EXTENSION)
    name = next((name for name, value in EXTENSIONS.items() if value == extension), None) or _name_of(type_)
    return SchemaField(item.name, name, mode, description=described)


def _name_of(type_: pa.DataType) -> str:
    if pa.types.is_decimal(type_):
        for name, digits, scale in (("NUMERIC", 29, 9), ("BIGNUMERIC", 38, 38)):
            if type_.scale <= scale and type_.precision - type_.scale <= digits:
                return name
    for name, of_this_kind in (
        ("BOOL", pa.types.is_boolean),
        ("INT64", pa.types.is_integer),
        ("FLOAT64", pa.types.is_floating),
        ("DATE", pa.types.is_date),
        ("TIME", pa.types.is_time),
    ):
        if of_this_kind(type_):
            return name
    if pa.types.is_timestamp(type_):
        return "DATETIME" if type_.tz is None else "TIMESTAMP"
    if pa.types.is_string(type_) or pa.types.is_large_string(type_) or type_ in (pa.string_view(), pa.null()):
        return "STRING"
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_):
        return "BYTES"
    raise UnsupportedTypeError(f"is {type_}, which no type of BigQuery holds")


def _arrow_field(field: SchemaField) -> pa.Field[Any]:
    name = type_of(field)
    if name == "RECORD":
        type_: pa.DataType = pa.struct([_arrow_field(item) for item in field.fields])
    elif name in ARROW_TYPES:
        type_ = ARROW_TYPES[name]
    else:
        raise UnsupportedTypeError(f"column {field.name!r} is {name}, which can't be read as Arrow")
    metadata = {EXTENSION: EXTENSIONS[name]} if name in EXTENSIONS else {}
    if field.description:
        metadata[DESCRIPTION] = field.description.encode()
    if field.mode == "REPEATED":
        return pa.field(field.name, pa.list_(type_), metadata=metadata)
    return pa.field(field.name, type_, nullable=field.mode != "REQUIRED", metadata=metadata)
