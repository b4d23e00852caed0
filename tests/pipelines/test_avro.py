"""Avro and ORC files: types, parts, and content that somebody has made to do harm."""

import io
import json
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest

from pipelines.chunks import SourceChunk
from pipelines.damage import DamagedFileError
from pipelines.job import parse_job
from pipelines.readers import Columns, Part, Reader
from pipelines.readers.avro import HEADER_SCHEMA, AvroReader
from pipelines.readers.avro_types import arrow_schema
from pipelines.readers.orc import OrcReader
from pipelines.selection import Selection, select
from runners.local import run_job
from tests.fakes import load

TEXT = Columns({"text": "text"}, pa.schema([("text", pa.string())]))
TICKET = {
    "type": "record",
    "name": "ticket",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "text", "type": ["null", "string"]},
        {"name": "who", "type": {"type": "record", "name": "who", "fields": [{"name": "mail", "type": "string"}]}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "more", "type": {"type": "map", "values": "int"}},
        {"name": "either", "type": ["null", "int", "string"]},
    ],
}


def avro(schema: Any, rows: list[dict[str, Any]], codec: str = "null", **more: Any) -> bytes:
    file = io.BytesIO()
    fastavro.writer(file, fastavro.parse_schema(schema), rows, codec, **more)
    return file.getvalue()


def of_texts(texts: list[Any], codec: str = "null", **more: Any) -> bytes:
    schema = {"type": "record", "name": "r", "fields": [{"name": "text", "type": "string"}]}
    return avro(schema, [{"text": text} for text in texts], codec, **more)


def read(reader: Reader, content: bytes, part: Part | None = None) -> list[SourceChunk]:
    return list(reader.read(io.BytesIO(content), part or Part(), TEXT, "f"))


def texts(chunks: list[SourceChunk]) -> list[Any]:
    return [text for chunk in chunks for text in chunk.fields.get("text", [])]


def failures(chunks: list[SourceChunk]) -> list[tuple[str, str]]:
    return [(failure.id, failure.code) for chunk in chunks for failure in chunk.failures]


def test_types_of_avro(tmp_path: Path) -> None:
    at = datetime(2026, 11, 24, 1, 2, 3, 4, UTC)
    row = {"id": "1", "text": "billing", "who": {"mail": "a@b"}, "at": at, "price": Decimal("12.50"), "tags": ["x"]}
    other = {**row, "id": "2", "text": None, "more": {"a": 1}, "either": "b"}
    (tmp_path / "a.avro").write_bytes(avro(TICKET, [{**row, "more": {}, "either": 7}, other]))
    columns = {"text_type": "who.mail"}
    document = {
        "source": {"format": "avro", "path": "*.avro", "columns": columns},
        "labels": ["billing", "sales"],
        "output": {"path": "out"},
        "cache": "none",
    }
    summary = run_job(parse_job(document, tmp_path / "job.yaml"), tmp_path, load=load)
    assert summary is not None and summary.failures == {"text_missing": 1}
    [written] = pq.read_table(tmp_path / "out").to_pylist()
    assert (written["label"], written["at"], written["price"]) == ("billing", at, Decimal("12.50"))
    assert (written["who"], written["tags"], written["more"]) == ({"mail": "a@b"}, ["x"], "{}")
    assert (written["either"], written["_rescued_data"]) == ("7", None)


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "zstandard", "snappy"])
def test_codecs(codec: str) -> None:
    raw = [f"text {n}" for n in range(500)]
    if codec in ("zstandard", "snappy"):
        try:
            content = of_texts(raw, codec)
        except ValueError:  # the writer's library is not installed
            content = packed(raw, codec)
    else:
        content = of_texts(raw, codec)
    assert texts(read(AvroReader(), content)) == raw


def packed(raw: list[str], codec: str) -> bytes:
    """Return a file of one block, compressed by Arrow."""
    content = of_texts(raw, sync_interval=1 << 20)
    head, body = content.split(content[-16:], 1)
    size = len(body) - 16
    number, rest = varint(len(raw)), body[:size]
    data = rest.removeprefix(number)
    while not data.startswith(b"\x0ctext 0"):
        data = data[1:]
    small = bytes(pa.Codec("zstd" if codec == "zstandard" else codec).compress(data, asbytes=True))
    small += zlib.crc32(data).to_bytes(4, "big") if codec == "snappy" else b""
    codecs = varint(len(codec)) + codec.encode()
    head = head.replace(varint(4) + b"null", codecs)
    return head + content[-16:] + number + varint(len(small)) + small + content[-16:]


def varint(number: int) -> bytes:
    number, done = number * 2, b""
    while number > 0x7F:
        done += bytes([number & 0x7F | 0x80])
        number >>= 7
    return done + bytes([number])


@pytest.mark.parametrize("step", [7, 40, 113, 1_000, 100_000])
def test_parts_of_avro_cover_every_row_once(step: int) -> None:
    content = of_texts([f"text {n}" for n in range(400)], sync_interval=50)
    parts = [Part(start, start + step) for start in range(0, len(content), step)]
    found = [read(AvroReader(), content, part) for part in parts]
    assert [text for chunks in found for text in texts(chunks)] == [f"text {n}" for n in range(400)]
    positions = [position for chunks in found for chunk in chunks for position in chunk.positions]
    whole = [position for chunk in read(AvroReader(), content) for position in chunk.positions]
    assert positions == whole and len(set(whole)) == 400


def test_a_marker_across_two_reads_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    content = of_texts([f"text {n}" for n in range(100)], sync_interval=50)
    rows = texts(read(AvroReader(), content, Part(200)))
    monkeypatch.setattr("pipelines.readers.avro.READ_BYTES", 5)
    assert rows and texts(read(AvroReader(), content, Part(200))) == rows


@pytest.mark.parametrize("reader", [AvroReader(), OrcReader()])
@pytest.mark.parametrize("content", [b"", b"Obj\x01", b"ORC", b"no such file" * 100, b"Obj\x01" + b"\xff" * 200])
def test_what_is_no_such_file(reader: Reader, content: bytes) -> None:
    with pytest.raises(DamagedFileError):
        reader.schema(io.BytesIO(content))
    assert failures(read(reader, content)) == [("f", "file_unreadable")]


def test_a_torn_avro_file_gives_the_rows_before() -> None:
    content = of_texts(["a"] * 100, sync_interval=50)
    found = read(AvroReader(), content[:-5])
    assert 50 < len(texts(found)) < 100
    assert failures(found) == [("f", "file_unreadable")]


def test_a_string_that_is_not_utf8_costs_its_own_record() -> None:
    content = of_texts(["good", "bad!", "good"]).replace(b"bad!", b"bad\xff")
    found = read(AvroReader(), content)
    assert texts(found) == ["good", "bad\udcff", "good"] and failures(found) == []


NULLS = {"type": "array", "items": "null"}
EMPTY = {"type": "record", "name": "e", "fields": []}


def linked() -> Any:
    return {"type": "record", "name": "r", "fields": [{"name": "next", "type": ["null", "r"]}]}


def doubled() -> Any:
    """Return a schema of forty lines that stands for 2 ** 40 fields."""
    inner: Any = {"type": "record", "name": "r0", "fields": [{"name": "a", "type": "int"}]}
    for n in range(1, 40):
        fields = [{"name": "a", "type": inner}, {"name": "b", "type": f"r{n - 1}"}]
        inner = {"type": "record", "name": f"r{n}", "fields": fields}
    return inner


def nested() -> Any:
    inner: Any = "int"
    for _ in range(5_000):
        inner = {"type": "array", "items": inner}
    return {"type": "record", "name": "r", "fields": [{"name": "a", "type": inner}]}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "record", "name": "r", "fields": [{"name": "a", "type": NULLS}]},
        {"type": "record", "name": "r", "fields": [{"name": "a", "type": {"type": "array", "items": EMPTY}}]},
        {"type": "record", "name": "r", "fields": [{"name": "a", "type": "null"}]},
        EMPTY,
        linked(),
        doubled(),
        "int",
        {"type": "record", "name": "r", "fields": [{"name": f"c{n}", "type": "int"} for n in range(10_001)]},
    ],
)
def test_schemas_by_which_a_small_file_is_huge(schema: Any) -> None:
    head = io.BytesIO()
    fields = {"magic": b"Obj\x01", "meta": {"avro.schema": json.dumps(schema).encode()}, "sync": b"s" * 16}
    fastavro.schemaless_writer(head, HEADER_SCHEMA, fields)
    content = head.getvalue() + varint(1 << 40) + varint(0) + b"s" * 16
    with pytest.raises(DamagedFileError):
        AvroReader().schema(io.BytesIO(content))
    assert failures(read(AvroReader(), content)) == [("f", "file_unreadable")]


def test_a_schema_of_many_levels() -> None:
    with pytest.raises(pa.ArrowInvalid, match="nested"):
        arrow_schema(nested())


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "xz"])
def test_a_block_that_unpacks_to_much(monkeypatch: pytest.MonkeyPatch, codec: str) -> None:
    monkeypatch.setattr("pipelines.readers.avro.MAX_BLOCK_BYTES", 1_000)
    found = read(AvroReader(), of_texts(["a" * 500, "b" * 5_000], codec, sync_interval=100))
    assert texts(found) == ["a" * 500] and failures(found) == [("f", "file_unreadable")]


def test_orc_rows_and_damage() -> None:
    file = io.BytesIO()
    raw = [f"text {n}" for n in range(10_000)]
    orc.write_table(pa.table({"text": raw, "who": [{"mail": str(n)} for n in range(10_000)]}), file)
    whole = file.getvalue()
    found = read(OrcReader(), whole)
    assert texts(found) == raw and found[0].positions[:2] == ["f#1", "f#2"]
    assert max(len(chunk.positions) for chunk in found) <= 4_096
    schema = OrcReader().schema(io.BytesIO(whole))
    columns = select(schema, {"text": "who.mail"}, Selection({"text": "who.mail"}))
    [first, *_] = OrcReader().read(io.BytesIO(whole), Part(), columns, "f")
    assert first.fields["text"][:2] == ["0", "1"]
    assert failures(read(OrcReader(), whole[:-30])) == [("f", "file_unreadable")]
    assert failures(read(OrcReader(), whole[:100] + b"\xff" * 2_000 + whole[2_100:])) == [("f", "file_unreadable")]
