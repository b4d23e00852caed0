"""Select what a job takes from its source: the column of each request field, and the columns that pass through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from classer_core.errors import JobError, Problem
from classer_core.records import OWN_FIELDS
from pipelines.readers import NOW, Columns
from pipelines.readers.nested import find_path
from pipelines.readers.typing import RESCUED, is_partition

CONTENT_FIELDS = {"text", "image", "file"}
# Columns of a message itself, and their types; a key of the body with such a name goes to `_rescued_data`.
MESSAGE_COLUMNS: dict[str, pa.DataType] = {
    "event_time": pa.timestamp("us", tz="UTC"),
    "message_id": pa.string(),
    "message_key": pa.string(),
    "attributes": pa.string(),
}


@dataclass(frozen=True)
class Selection:
    """A job's choice of its source's columns.

    Args:
        fields: request field -> column, of all fields that records may set.
        record_fields: the request fields among them that the job has named.
        passthrough: whether columns follow in the results, or which of them.
        watermark_table: the table that keeps how far the last run came, if the output is one.
    """

    fields: Mapping[str, str]
    record_fields: Sequence[str] = ()
    passthrough: bool | Sequence[str] = True
    watermark_table: str | None = None


def select(schema: pa.Schema, mapped: Mapping[str, str], selection: Selection) -> Columns:
    """Return what a job takes of a source that has these columns.

    Args:
        schema: the source's columns.
        mapped: request field -> column, as the job's `source.columns` says.
        selection: what the job takes.

    Raises:
        JobError: a column that the job names is not there, none holds the content, or the text is not text.
    """
    known = f"The source has: {', '.join(schema.names)}."
    missing = "is not a column of the source"
    named = [(f"source.columns.{field}", column) for field, column in mapped.items()]
    named += [("record_fields", field) for field in selection.record_fields if field not in {*OWN_FIELDS, *mapped}]
    kept = [] if isinstance(selection.passthrough, bool) else list(selection.passthrough)
    named += [("passthrough", name) for name in kept]
    # Only fields of the request may be inside a column: what passes through keeps its place.
    found = {column: find_path(schema, column) for column in {*mapped.values(), *selection.fields.values()}}
    partitions = frozenset(item.name for item in schema if is_partition(item))
    problems = [
        Problem(place, name, missing, known)
        for place, name in named
        if (found.get(name) is None if place.startswith("source.columns.") else name not in schema.names)
    ]
    leads = {column: lead for column, lead in found.items() if lead is not None}
    fields = {field: column for field, column in selection.fields.items() if column in leads}
    paths = {column: path for column, (path, _) in leads.items() if path != (column,)}
    if not fields.keys() & CONTENT_FIELDS and not problems:
        remedy = f"Name a column in source.columns.text, .image or .file; {known[0].lower()}{known[1:]}"
        problems.append(Problem("source.columns.text", selection.fields["text"], missing, remedy))
    elif "text" in fields and not is_text(type_ := leads[fields["text"]][1]):
        remedy = "Name a column of strings in source.columns.text."
        problems.append(Problem("source.columns.text", fields["text"], f"holds {type_}, not text", remedy))
    if problems:
        raise JobError(problems)
    if selection.passthrough is True:
        # Pictures and documents are kept where they are; only a job that names their columns copies them.
        content = {fields.get("image"), fields.get("file")}
        return Columns(fields, pa.schema([item for item in schema if item.name not in content]), NOW, paths, partitions)
    return Columns(fields, pa.schema([schema.field(name) for name in kept]), NOW, paths, partitions)


def select_of_messages(selection: Selection) -> Columns:
    """Return what a job takes from messages.

    `fields`: request field -> key of the body, name of an attribute, or `message_id` or `message_key`.
    `passed`: columns of the message, keys of the body as strings, `_rescued_data`.
    """
    names = selection.passthrough
    if isinstance(names, bool):
        names = [*MESSAGE_COLUMNS, RESCUED] if names else []
    return Columns(dict(selection.fields), message_schema(names))


def message_schema(names: Sequence[str]) -> pa.Schema:
    """Return the schema of columns that pass through from messages: keys of the body are strings."""
    return pa.schema([(name, MESSAGE_COLUMNS.get(name, pa.string())) for name in names])


def is_text(type_: pa.DataType) -> bool:
    """Return whether a column of this type holds texts."""
    if isinstance(type_, pa.DictionaryType):
        type_ = type_.value_type
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
