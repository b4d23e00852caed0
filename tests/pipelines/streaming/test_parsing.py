"""Messages of all kinds: a record with its passing columns, or a failure that says why."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from classer_core.records import Failure, Record
from pipelines.job import Job, parse_job
from pipelines.queues import Message
from pipelines.streaming.parsing import Entry, MessageParser, pack
from tests.fakes import OPT_IN_FIELDS
from tests.memory_queue import NOON
from tests.pipelines.test_graph import BAD_LINES

QUEUE = {"format": "kafka", "bootstrap_servers": "localhost:1", "topic": "t", "group": "g"}


def parser_of(job: Job) -> MessageParser:
    columns = job.source.find_columns(job.selection)
    return MessageParser(columns, job.request_parser(), job.source.message_id_attribute)


def parse(
    data: Any,
    source: dict[str, Any] | None = None,
    passthrough: Any = True,
    fields: Sequence[str] = OPT_IN_FIELDS,
    **more: Any,
) -> tuple[Entry, Any]:
    """One message in, its entry and its row out."""
    document = {
        "source": {**QUEUE, **(source or {})},
        "labels": ["billing", "sales"],
        "output": {"path": "out"},
        "passthrough": passthrough,
        "record_fields": list(fields),
    }
    job = parse_job(document, Path("/nowhere/job.yaml"))
    columns = job.source.find_columns(job.selection)
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    [entry] = parser_of(job).parse([Message("m1", body, NOON, 1, **more)])
    rows = pack([entry], columns.passed).rows.to_pylist()
    return entry, rows[0] if rows else None


def record(data: Any, **more: Any) -> Record:
    outcome = parse(data, **more)[0].outcome
    assert isinstance(outcome, Record), outcome
    return outcome


def failure(data: Any, **more: Any) -> Failure:
    outcome = parse(data, **more)[0].outcome
    assert isinstance(outcome, Failure), outcome
    return outcome


def test_a_json_object_holds_request_fields() -> None:
    found = record({"id": 7, "text": "hello", "labels": ["a", "b"], "priority": "fast", "cache": False})
    assert (found.id, found.text, found.classifier.labels, found.priority, found.cache) == (
        "7",
        "hello",
        ("a", "b"),
        "fast",
        False,
    )


@pytest.mark.parametrize("body", ["plain text", '"quoted"', "[1, 2]", "7", " not { json }"])
def test_any_other_body_is_the_text(body: str) -> None:
    found = record(body.encode())
    assert (found.id, found.text) == ("m1", body)


def test_attributes_fill_fields_that_the_body_lacks() -> None:
    attributes = {"id": "a7", "labels": '["x", "y"]', "priority": "fast", "cache": "false", "other": "kept"}
    found = record(b"hello", attributes=attributes)
    assert (found.id, found.classifier.labels, found.priority, found.cache) == ("a7", ("x", "y"), "fast", False)
    assert record({"id": "own", "text": "hello"}, attributes=attributes).id == "own"


def test_columns_rename_keys_attributes_and_the_key() -> None:
    source = {"columns": {"text": "body", "id": "message_key", "text_type": "kind"}}
    body = {"body": "hello", "labels": ["no", "field"], "message_key": "forged"}
    found = record(body, source=source, fields=(), key="k1", attributes={"kind": "note"})
    assert (found.id, found.text, found.classifier.text_type) == ("k1", "hello", "note")
    assert found.classifier.labels == ("billing", "sales")  # only what `columns` names is a field


def test_an_id_attribute_tells_messages_apart() -> None:
    source = {"format": "pubsub", "subscription": "projects/p/subscriptions/s", "id_attribute": "uid"}
    for name in ("bootstrap_servers", "topic", "group"):
        source[name] = None
    document = {
        "source": {name: value for name, value in source.items() if value is not None},
        "labels": ["a", "b"],
        "output": {"path": "out"},
    }
    job = parse_job(document, Path("/nowhere/job.yaml"))
    parser = parser_of(job)
    messages = [Message("m1", b"hello", NOON, 1, attributes={"uid": "u1"}), Message("m2", b"hello", NOON, 2)]
    assert [entry.outcome.id for entry in parser.parse(messages)] == ["u1", "m2"]


def test_the_message_passes_through_beside_the_rest_of_its_body() -> None:
    _, row = parse({"id": 1, "text": "hello", "n": 2, "who": {"name": "é"}}, key="k", attributes={"a": "ü"})
    assert row == {
        "event_time": NOON,
        "message_id": "m1",
        "message_key": "k",
        "attributes": '{"a":"ü"}',
        "_rescued_data": '{"n":2,"who":{"name":"é"}}',
    }


def test_a_name_of_a_file_that_is_not_utf8_is_a_failure() -> None:
    found = failure(json.dumps({"file": "/inbox/caf\udce9.pdf"}).encode())
    assert found.code == "row_malformed" and "udce9.pdf" in str(found.record)


def test_attributes_and_keys_count_as_bytes() -> None:
    size = parse(b"hello")[0].size_bytes
    assert parse(b"hello", key="k" * 70, attributes={"name": "x" * 1_000})[0].size_bytes == size + 70 + 1_004


def test_named_columns_are_strings_or_json() -> None:
    body = {"text": "hello", "a": "one", "b": {"c": [1]}, "n": 3, "none": None, "more": 1}
    wanted = ["a", "b", "n", "none", "header", "event_time", "_rescued_data"]
    _, row = parse(body, passthrough=wanted, attributes={"header": "h"})
    assert row == {
        "a": "one",
        "b": '{"c":[1]}',
        "n": "3",
        "none": None,
        "header": "h",
        "event_time": NOON,
        "_rescued_data": '{"more":1}',
    }
    assert parse(body, passthrough=False)[1] == {}


def test_nothing_of_a_body_is_lost_to_the_names_of_columns() -> None:
    _, row = parse({"text": "hello", "message_id": "own", "event_time": "own"})
    assert json.loads(row["_rescued_data"]) == {"message_id": "own", "event_time": "own"}
    assert row["message_id"] == "m1"


@pytest.mark.parametrize(("line", "code"), BAD_LINES)
def test_bad_messages_are_failures_with_their_code(line: bytes, code: str) -> None:
    if line.startswith(b"["):
        return  # a text, for a queue
    found = failure(line.replace(b'"ID"', b'"r1"'))
    assert (found.code, found.stage) == (code, "read")
    assert found.id == ("m1" if code in ("row_malformed", "row_not_utf8", "id_invalid") else "r1")
    assert found.record is not None


def test_odd_bodies_are_failures_or_kept_whole() -> None:
    assert failure(b"").code == "text_missing"
    assert failure(b" \n").code == "text_empty"
    assert failure(b"\xff\xfe").code == "row_not_utf8"
    deep = b'{"text": "hello", "deep": ' + b"[" * 150 + b"]" * 150 + b"}"
    assert json.loads(parse(deep)[1]["_rescued_data"])["deep"]
    big = b'{"text": "hello", "big": 123456789012345678901234567890}'
    assert parse(big)[1]["_rescued_data"] == '{"big": 123456789012345678901234567890}'
    odd = b'{"text": "hello", "number": 1234567890123456789, "odd": "\\ud800"}'
    assert "ud800" in parse(odd)[1]["_rescued_data"]
    assert failure(b'{"text": 7, "deep": ' + b"[" * 150 + b"]" * 150 + b"}").code == "text_invalid"
    assert failure(b'{"text": "x", "deep": ' + b"[" * 400 + b"]" * 400 + b"}").code == "row_malformed"
    assert failure(b'{"text": "x", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}").code == "row_malformed"


def test_what_is_nested_too_deep_is_a_failure_of_its_own() -> None:
    deep = b"[" * 600 + b"]" * 600
    field = b"[" * 1_010 + b"]" * 1_010
    bodies = [b'{"text": "hi", "image": [' + deep + b"]}", b'{"text": "hi", "labels": ' + field + b"}", b"sales"]
    messages = [Message(f"m{number}", body, NOON, number) for number, body in enumerate(bodies)]
    document = {"source": QUEUE, "labels": ["a", "b"], "output": {"path": "out"}, "record_fields": OPT_IN_FIELDS}
    job = parse_job(document, Path("/nowhere/job.yaml"))
    *failed, good = parser_of(job).parse(messages)
    assert isinstance(good.outcome, Record)
    for entry in failed:
        assert isinstance(entry.outcome, Failure) and entry.outcome.record is not None
        assert entry.outcome.id in ("m0", "m1") and entry.receipt in (0, 1)
    assert failure(b"hello", attributes={"labels": "[" * 1_020}).code == "labels_invalid"


def test_a_body_beyond_all_bounds_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.streaming.parsing.MAX_LINE_BYTES", 1_000)
    found = failure(json.dumps({"text": "x" * 2_000}).encode())
    assert found.code == "row_too_long" and "message m1" in found.message


def test_documents_pass_through_when_they_were_written() -> None:
    job = parse_job(
        {
            "source": {"format": "documents", "path": "inbox/*", "watch": "30s"},
            "labels": ["a", "b"],
            "output": {"path": "out"},
        },
        Path("/nowhere/job.yaml"),
    )
    assert job.source.find_columns(job.selection).passed.names == ["event_time"]
