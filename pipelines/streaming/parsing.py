"""MessageParser: make an Entry of each message: a checked record with the columns that pass through, or a failure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from classer_core.cached import Known
from classer_core.errors import FailureCode, RecordError
from classer_core.records import Failure, Record
from classer_core.requests import RequestParser, from_text
from pipelines.chunks import ATTACHED, Chunk, printable, record_json, shown_source, without_columns
from pipelines.queues import Message
from pipelines.readers import Columns
from pipelines.readers.ndjson import MAX_LINE_BYTES, parse_object
from pipelines.readers.nested import value_of
from pipelines.readers.typing import RESCUED, as_json
from pipelines.selection import MESSAGE_COLUMNS

# What an entry takes beside its body.
ENTRY_BYTES = 1_000
SHOWN_BYTES = 100_000


@dataclass(slots=True)
class Entry:
    """One message on its way: its record or its failure, and what passes through beside it.

    `row` holds the values of the passing columns. `known` is the record's answer if it has been prepared, with its
    fingerprint.
    """

    outcome: Record | Failure
    row: tuple[Any, ...]
    published_at: datetime
    receipt: Any
    size_bytes: int
    arrived_at: float = field(default_factory=time.monotonic)
    known: tuple[bytes, Known] | None = None

    @property
    def is_fast(self) -> bool:
        """Whether it goes before others; failures wait for nobody's model."""
        return isinstance(self.outcome, Failure) or self.outcome.priority == "fast"


class MessageParser:
    """Parses messages. A body that starts with `{` is a JSON object, any other one is the record's text.

    Only the fields in `columns` are taken: from the body, or else from the attribute of that name. Nothing in a message
    raises: what is wrong with it becomes its failure.

    Args:
        columns: what is taken from messages.
        requests: what makes records of their request fields.
        id_attribute: the attribute that tells messages apart, better than the server's ids do.
    """

    def __init__(self, columns: Columns, requests: RequestParser, id_attribute: str | None = None) -> None:
        self._columns = columns
        self._requests = requests
        self._id_attribute = id_attribute
        self._passed = columns.passed.names
        # Keys of a body that are columns of their own, so that `_rescued_data` does not repeat them.
        self._taken = {*columns.fields.values(), *self._passed} - MESSAGE_COLUMNS.keys() - {RESCUED}
        self._rescues = RESCUED in self._passed

    def parse(self, messages: Sequence[Message]) -> list[Entry]:
        """Return one entry per message, in the same order."""
        bodies: list[dict[str, Any] | RecordError] = [self._body(message) for message in messages]
        objects = {number: body for number, body in enumerate(bodies) if isinstance(body, dict)}
        good = list(objects)
        given = [self._given(messages[number], body) for number, body in objects.items()]
        names = {name for fields in given for name in fields}
        by_name = {name: [fields.get(name) for fields in given] for name in names}
        parsed = self._requests.parse(by_name, [self._id(messages[number]) for number in good])
        outcomes: dict[int, Record | RecordError] = dict(zip(good, parsed, strict=True))
        fields = dict(zip(good, given, strict=True))
        return [
            self._entry(message, bodies[number], outcomes.get(number), fields.get(number, {}))
            for number, message in enumerate(messages)
        ]

    def _id(self, message: Message) -> str:
        """The id of a record that has none of its own."""
        own = message.attributes.get(self._id_attribute) if self._id_attribute else None
        return printable(own or message.id)

    def _body(self, message: Message) -> dict[str, Any] | RecordError:
        data = message.data
        try:
            if len(data) > MAX_LINE_BYTES:
                raise RecordError(FailureCode.ROW_TOO_LONG, f"is longer than {MAX_LINE_BYTES:,} bytes")
            if data.lstrip()[:1] == b"{":
                return parse_object(data)
            text = data.decode()
        except RecordError as error:
            return RecordError(error.code, f"the body of message {message.id} {error.message}")
        except UnicodeDecodeError as error:
            reason = f"is not UTF-8: {error.reason} at byte {error.start}"
            return RecordError(FailureCode.ROW_NOT_UTF8, f"the body of message {message.id} {reason}")
        return {self._columns.fields.get("text", "text"): text} if text else {}

    def _given(self, message: Message, body: Mapping[str, Any]) -> dict[str, Any]:
        """The request fields of a message."""
        given = {}
        for name, column in self._columns.fields.items():
            if column in ("message_id", "message_key"):  # the message's own, whatever its body says
                value = message.id if column == "message_id" else message.key
            else:
                value = value_of(body, column)
                if value is None and column in message.attributes:
                    value = from_text(name, message.attributes[column])
            if value is not None:
                given[name] = value
        return given

    def _entry(
        self,
        message: Message,
        body: dict[str, Any] | RecordError,
        outcome: Record | RecordError | None,
        given: Mapping[str, Any],
    ) -> Entry:
        size = message.size_bytes + ENTRY_BYTES
        if isinstance(outcome, Record):
            assert isinstance(body, dict)
            return Entry(outcome, self._row(message, body), message.published_at, message.receipt, size)
        if isinstance(body, RecordError):
            failure = Failure.of(body, self._id(message), "read", record_json({"message": _shown_body(message.data)}))
        else:
            assert outcome is not None
            own_id = given.get("id") if outcome.field != "id" else None
            id_ = self._id(message) if own_id is None else printable(str(own_id))
            shown = {name: shown_source(given[name]) for name in ATTACHED if name in given}
            failure = Failure.of(outcome, id_, "read", record_json({**body, **given, **shown}))
        return Entry(failure, (), message.published_at, message.receipt, size)

    def _row(self, message: Message, body: Mapping[str, Any]) -> tuple[Any, ...]:
        values: list[Any] = []
        for name in self._passed:
            if name == "event_time":
                values.append(message.published_at)
            elif name == "message_id":
                values.append(printable(message.id))
            elif name == "message_key":
                values.append(None if message.key is None else printable(message.key))
            elif name == "attributes":
                values.append(_as_string(dict(message.attributes)) if message.attributes else None)
            elif name == RESCUED:
                rest = {key: value for key, value in body.items() if key not in self._taken}
                values.append(_as_string(rest) if rest else None)
            else:
                values.append(_as_string(body.get(name, message.attributes.get(name))))
        return tuple(values)


def pack(entries: Sequence[Entry], passed: pa.Schema) -> Chunk:
    """Return a chunk of the entries."""
    good = [entry for entry in entries if isinstance(entry.outcome, Record)]
    columns = zip(*(entry.row for entry in good), strict=True) if good else ([] for _ in passed)
    arrays = [pa.array(list(values), item.type) for values, item in zip(columns, passed, strict=True)]
    rows = pa.RecordBatch.from_arrays(arrays, schema=passed) if arrays else without_columns(len(good))
    known: dict[bytes, Known] = {}
    for entry in good:
        if entry.known is not None and (entry.known[1].source_id is not None or entry.known[0] not in known):
            known[entry.known[0]] = entry.known[1]
    failures = [entry.outcome for entry in entries if isinstance(entry.outcome, Failure)]
    return Chunk([entry.outcome for entry in good if isinstance(entry.outcome, Record)], rows, failures, known)


def _as_string(value: Any) -> str | None:
    if value is None:
        return None
    return printable(value) if isinstance(value, str) else as_json(value)


def _shown_body(data: bytes) -> str:
    return data[:SHOWN_BYTES].decode(errors="backslashreplace")
