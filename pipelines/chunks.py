"""A chunk: some thousand rows that travel together, as Arrow where they only pass through.

    SourceChunk (just read) -> Chunk (requests checked) -> ClassifiedChunk (ready to be written)

Every row of a SourceChunk is, at each step, either still there or in `failures`, never both and never neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pyarrow as pa

from classer_core.cached import Known
from classer_core.errors import RecordError
from classer_core.fetching.rules import redacted
from classer_core.filesystems import scheme_of
from classer_core.records import (
    Failure,
    Outcome,
    Record,
    Result,
    failures_to_arrow,
    result_schema,
    results_to_arrow,
)
from classer_core.requests import RequestParser

# Big enough that windows find company of their length, even where nine of ten rows are repeats that nobody reads; small
# enough for a lively progress bar.
CHUNK_ROWS = 4_096
CHUNK_BYTES = 8 << 20
# A failure row keeps the whole original record, but for strings longer than this.
KEPT_CHARS = 100_000
KEPT_SOURCE_CHARS = 2_000
ID_DIGITS = 16
KEPT_LEVELS = 100
ATTACHED = ("image", "file")


@dataclass
class SourceChunk:
    """Rows as read: `fields` (request field -> values), `rows` (columns that pass through), one position per row."""

    positions: list[str]
    fields: Mapping[str, Sequence[Any]]
    rows: pa.RecordBatch
    failures: list[Failure] = field(default_factory=list)

    def original(self, row: int) -> dict[str, Any]:
        """A row's request fields and passed columns, for its failure."""
        given = {name: values[row] for name, values in self.fields.items()}
        shown = {name: shown_source(given[name]) for name in ATTACHED if given.get(name) is not None}
        return given | row_values(self.rows, row) | shown


@dataclass
class Chunk:
    """Checked records, and the columns that pass through beside them, row by row.

    `known` is what steps before have found out of some of them, by fingerprint.
    """

    records: list[Record]
    rows: pa.RecordBatch
    failures: list[Failure]
    known: Mapping[bytes, Known] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels between workers; rows alone, where pickling a slice would take its whole batch along."""
        return self.__dict__ | {"rows": to_ipc(self.rows)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"rows": from_ipc(state["rows"])})

    def original(self, row: int) -> dict[str, Any]:
        """A record's text and passed columns, for its failure."""
        record = self.records[row]
        attached = {item.place: shown_source(item.source) for item in record.attachments}
        return {"id": record.id, "text": record.text} | row_values(self.rows, row) | attached

    def part(self, start: int, end: int) -> Chunk:
        """Some of the records; the first part takes the failures along."""
        failures = self.failures if start == 0 else []
        return replace(
            self, records=self.records[start:end], rows=self.rows.slice(start, end - start), failures=failures
        )

    def without(self, errors: Mapping[int, RecordError], stage: str) -> Chunk:
        """The chunk with the records at these positions moved to the failures."""
        if not errors:
            return self
        good = [row for row in range(len(self)) if row not in errors]
        failures = [
            Failure.of(error, self.records[row].id, stage, record_json(self.original(row)))
            for row, error in errors.items()
        ]
        rows = self.rows.take(pa.array(good, pa.int32()))
        records = [self.records[row] for row in good]
        return replace(self, records=records, rows=rows, failures=self.failures + failures)


def to_ipc(rows: pa.RecordBatch) -> bytes:
    """Return rows in Arrow's streaming format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_batch(rows)
    return sink.getvalue().to_pybytes()


def from_ipc(stream: bytes) -> pa.RecordBatch:
    """Return the rows that `to_ipc` wrote."""
    with pa.ipc.open_stream(stream) as reader:
        return reader.read_next_batch()


@dataclass
class ClassifiedChunk:
    """Result rows (result columns, then passed columns) and failure rows."""

    results: pa.RecordBatch
    failures: pa.RecordBatch


def check_requests(chunk: SourceChunk, parser: RequestParser) -> Chunk:
    """Return the records of rows; rows that break a rule move to `failures`."""
    parsed = parser.parse(chunk.fields, chunk.positions)
    good = [row for row, outcome in enumerate(parsed) if isinstance(outcome, Record)]
    failures = [
        Failure.of(outcome, _row_id(chunk, row, outcome), "read", record_json(chunk.original(row)))
        for row, outcome in enumerate(parsed)
        if isinstance(outcome, RecordError)
    ]
    return Chunk(
        records=[outcome for outcome in parsed if isinstance(outcome, Record)],
        rows=chunk.rows if len(good) == len(parsed) else chunk.rows.take(pa.array(good, pa.int32())),
        failures=chunk.failures + failures,
    )


def settle(chunk: Chunk, outcomes: Sequence[Outcome], scored: bool = False) -> ClassifiedChunk:
    """Return the rows to write of a chunk, given the outcome of each of its records."""
    results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    rows, failures = chunk.rows, chunk.failures
    if len(results) < len(outcomes):
        good = [row for row, outcome in enumerate(outcomes) if isinstance(outcome, Result)]
        rows = rows.take(pa.array(good, pa.int32()))
        failures = list(failures)
        for row, outcome in enumerate(outcomes):
            if isinstance(outcome, Failure):
                outcome.record = record_json(chunk.original(row))
                failures.append(outcome)
    answers = results_to_arrow(results, scored)
    schema = output_schema(rows.schema, scored)
    return ClassifiedChunk(
        results=pa.RecordBatch.from_arrays([*answers.columns, *rows.columns], schema=schema),
        failures=failures_to_arrow(failures),
    )


def output_schema(passed: pa.Schema, scored: bool = False) -> pa.Schema:
    """Return the columns of result rows: the results, then the passed ones, renamed where the names are the same.

    Args:
        passed: columns of the source.
        scored: whether the job asks for `scores`.
    """
    results = result_schema(scored)
    names = free_names(passed.names, results.names)
    fields = [item.with_name(name).with_nullable(True) for item, name in zip(passed, names, strict=True)]
    return pa.schema([*results, *fields])


def free_names(names: Sequence[str], reserved: Collection[str]) -> list[str]:
    """Return column names in which the reserved ones have the prefix `input_`, repeated until the name is free.

    >>> free_names(["label", "input_label", "text"], ["label"])
    ['input_input_label', 'input_label', 'text']
    """
    taken, free = {*reserved, *names}, []
    for original in names:
        name = original
        while name in reserved or (name != original and name in taken):
            name = f"input_{name}"
        taken.add(name)
        free.append(name)
    return free


def empty_rows(schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch of no rows."""
    return pa.RecordBatch.from_pylist([], schema=schema)


def without_columns(rows: int) -> pa.RecordBatch:
    """Return a batch of so many rows that have no columns."""
    structs: Any = pa.array([{}] * rows, pa.struct([]))
    return pa.RecordBatch.from_struct_array(structs)


def row_values(rows: pa.RecordBatch, row: int) -> dict[str, Any]:
    """One row as Python values; strings that are not UTF-8, which Arrow lets in, with their bytes escaped."""
    values = {}
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        try:
            values[name] = column[row].as_py()
        except UnicodeDecodeError:
            text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
            raw = column.cast(pa.large_binary())[row].as_py() if text else f"({column.type})".encode()
            values[name] = raw.decode(errors="backslashreplace")
    return values


def record_json(original: Mapping[str, Any]) -> str:
    """A record as JSON; strings too long to keep are cut, with their length and digest, and so are deep levels."""
    return orjson.dumps(_kept(dict(original)), default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def content_id(fields: Mapping[str, Sequence[Any]], row: int) -> str:
    """The id of a record without one nor a place: the same whenever and wherever the record is read."""
    given = {name: values[row] for name, values in fields.items()}
    return hashlib.sha256(record_json(given).encode()).hexdigest()[:ID_DIGITS]


def shown_source(value: Any) -> Any:
    """A picture or document as a failure row keeps it: no secrets of a URL, no megabytes of base64."""
    if isinstance(value, list | tuple):
        return [shown_source(item) for item in value]
    if isinstance(value, str):
        return redacted(value) if scheme_of(value) != "data" and len(value) <= KEPT_SOURCE_CHARS else _digest(value)
    return value


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return f"{text[:64]}… [{len(text)} characters, sha256 {digest}]"


def _row_id(chunk: SourceChunk, row: int, error: RecordError) -> str:
    """The row's own id, unless that is what is wrong with it."""
    value = chunk.fields["id"][row] if "id" in chunk.fields and error.field != "id" else None
    return chunk.positions[row] if value is None else printable(str(value))


def _kept(value: Any, levels: int = KEPT_LEVELS) -> Any:
    if isinstance(value, str):
        value = printable(value)
        if len(value) > KEPT_CHARS:
            digest = hashlib.sha256(value.encode()).hexdigest()
            return f"{value[:256]}… [{len(value)} characters, sha256 {digest}]"
        return value
    if isinstance(value, bytes):
        return f"[{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()}]"
    if isinstance(value, dict):
        return {printable(str(key)): _kept(item, levels - 1) for key, item in value.items()} if levels else "{…}"
    if isinstance(value, list | tuple):
        return [_kept(item, levels - 1) for item in value] if levels else "[…]"
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value


def printable(text: str) -> str:
    """A text that Arrow and JSON can take: lone surrogates are escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
