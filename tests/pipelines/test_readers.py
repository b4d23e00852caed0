"""Readers: each row of a file ends in a chunk or in a failure, wherever the file is cut."""

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.chunks import CHUNK_BYTES, SourceChunk
from pipelines.readers import Columns, Part, Reader
from pipelines.readers import parquet as parquet_reader
from pipelines.readers.csv import CsvReader
from pipelines.readers.ndjson import NdjsonReader
from pipelines.readers.parquet import SMALL_BYTES, ParquetReader
from pipelines.storage import open_file

TEXT = Columns({"text": "text"}, pa.schema([("text", pa.string())]))


def read(reader: Reader, content: bytes, columns: Columns = TEXT, part: Part | None = None) -> list[SourceChunk]:
    return list(reader.read(io.BytesIO(content), part or Part(), columns, "f"))


def texts(chunks: list[SourceChunk]) -> list[Any]:
    return [text for chunk in chunks for text in chunk.fields.get("text", [])]


def failures(chunks: list[SourceChunk]) -> list[tuple[str, str]]:
    return [(failure.id, failure.code) for chunk in chunks for failure in chunk.failures]


def test_ndjson_positions_are_byte_offsets() -> None:
    chunks = read(NdjsonReader(), b'{"text": "a"}\n\n{"text": "b"}\r\n{"text": "c"}')
    assert texts(chunks) == ["a", "b", "c"]
    assert chunks[0].positions == ["f@0", "f@15", "f@30"]


@pytest.mark.parametrize("step", [1, 7, 15, 16, 40])
def test_ndjson_parts_cover_every_line_once(step: int) -> None:
    content = b"".join(json.dumps({"text": "x" * n}).encode() + b"\n" for n in range(30))
    parts = [Part(start, start + step) for start in range(0, len(content), step)]
    found = [read(NdjsonReader(), content, part=part) for part in parts]
    assert [text for chunks in found for text in texts(chunks)] == ["x" * n for n in range(30)]
    positions = [position for chunks in found for chunk in chunks for position in chunk.positions]
    assert positions == read(NdjsonReader(), content)[0].positions


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (b'{"text": "a"', "row_malformed", "line 2 of f is not JSON"),
        (b'["text"]', "row_malformed", "is not a JSON object but list"),
        (b'{"text": NaN}', "row_malformed", "is not JSON"),
        (b'{"text": "\xff"}', "row_not_utf8", "is not UTF-8"),
        (b'{"text": "\\ud800"}', "row_malformed", "is not JSON"),
        (b"[" * 100_000, "row_malformed", "JSON"),
    ],
)
def test_ndjson_bad_lines_fail_alone(line: bytes, code: str, message: str) -> None:
    chunks = read(NdjsonReader(), b'{"text": "before"}\n' + line + b'\n{"text": "after"}\n')
    assert texts(chunks) == ["before", "after"]
    [failure] = chunks[0].failures
    assert (failure.id, failure.code) == ("f@19", code)
    assert message in failure.message
    assert failure.record is not None and json.loads(failure.record)["line"]


def test_ndjson_line_too_long_fails_without_being_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.readers.ndjson.MAX_LINE_BYTES", 100)
    monkeypatch.setattr("pipelines.readers.ndjson.READ_BYTES", 64)
    lines = [b'{"text": "a"}', b'{"text": "' + b"x" * 500 + b'"}', b'{"text": "b"}']
    chunks = read(NdjsonReader(), b"\n".join(lines))
    assert texts(chunks) == ["a", "b"]
    assert failures(chunks) == [("f@14", "row_too_long")]


def test_ndjson_byte_order_mark_is_no_content() -> None:
    assert texts(read(NdjsonReader(), b'\xef\xbb\xbf{"text": "a"}')) == ["a"]


def test_ndjson_long_numbers_keep_their_digits() -> None:
    content = b'{"text": "a", "n": 123456789012345678901234567890}'
    columns = Columns({"id": "n", "text": "text"}, pa.schema([("text", pa.string())]))
    assert read(NdjsonReader(), content, columns)[0].fields["id"] == [123456789012345678901234567890]


def test_ndjson_values_of_another_type_are_rescued() -> None:
    schema = NdjsonReader().schema(io.BytesIO(b'{"text": "a", "n": 1, "s": {"x": 1}}\n{"text": "b", "n": 2.5}'))
    assert schema.field("n").type == pa.float64()
    rows = b'{"text": "c", "n": "three", "s": {"x": 2, "y": 3}}\n{"text": "d", "new": [1]}\n{"text": "e", "n": 4}'
    batch = read(NdjsonReader(), rows, Columns({"text": "text"}, schema))[0].rows
    assert batch.column("n").to_pylist() == [None, None, 4.0]
    rescued = [value and json.loads(value) for value in batch.column("_rescued_data").to_pylist()]
    assert rescued == [{"n": "three", "s": {"x": 2, "y": 3}}, {"new": [1]}, None]


def test_ndjson_nested_values_stay_intact() -> None:
    row = {"text": "a", "tags": ["x", "y"], "customer": {"plan": "free", "seats": [{"n": 1}, {"n": 2}]}}
    content = json.dumps(row).encode()
    schema = NdjsonReader().schema(io.BytesIO(content))
    [batch] = [chunk.rows for chunk in read(NdjsonReader(), content, Columns({"text": "text"}, schema))]
    assert batch.to_pylist() == [{**row, "_rescued_data": None}]


def test_csv_rows() -> None:
    content = 'text,n\n"a, ""quoted""\nsecond line",1\n\né,2\n'.encode()
    columns = Columns({"text": "text"}, CsvReader(",").schema(io.BytesIO(content)))
    [chunk] = read(CsvReader(","), content, columns)
    assert chunk.rows.to_pylist() == [{"text": 'a, "quoted"\nsecond line', "n": "1"}, {"text": "é", "n": "2"}]
    assert chunk.positions == ["f#2", "f#5"]


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (b"only one", "row_malformed", "line 3 of f has 1 columns where the header has 2"),
        (b"one,two,three", "row_malformed", "has 3 columns where the header has 2"),
        (b"\xff,2", "row_not_utf8", "is not UTF-8"),
        (b'"never closed,2', "row_malformed", "is not CSV"),
        (b'"closed" too early,2', "row_malformed", "is not CSV"),
    ],
)
def test_csv_bad_rows_fail_alone(line: bytes, code: str, message: str) -> None:
    chunks = read(CsvReader(","), b"text,n\nbefore,1\n" + line + b"\nafter,3\nlast,4\n")
    assert texts(chunks) == ["before", "after", "last"]
    [failure] = chunks[0].failures
    assert (failure.id, failure.code) == ("f#3", code)
    assert message in failure.message


def test_csv_quote_never_closed_costs_one_row_of_many() -> None:
    rows = [f"text {n},{n}" for n in range(20_000)]
    rows[5] = '"lost its quote,5'
    chunks = read(CsvReader(","), ("text,n\n" + "\n".join(rows)).encode())
    assert len(texts(chunks)) == 19_999
    assert failures(chunks) == [("f#7", "row_malformed")]


def test_csv_other_delimiters() -> None:
    assert texts(read(CsvReader(";"), b"text;n\na,b;1\n")) == ["a,b"]


@pytest.fixture
def parquet() -> bytes:
    table = pa.table({"text": [f"text {n}" for n in range(100)], "day": pa.array(range(100), pa.date32())})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=10)
    return sink.getvalue()


def test_parquet_parts_cover_every_row_once(parquet: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = pq.ParquetFile(io.BytesIO(parquet)).metadata.row_group(0)
    group_bytes = sum(group.column(n).total_compressed_size for n in range(2))
    monkeypatch.setattr(parquet_reader, "PART_BYTES", 3 * group_bytes + group_bytes // 2)
    reader = ParquetReader()
    columns = Columns({"text": "text"}, reader.schema(io.BytesIO(parquet)))
    (tmp_path / "f").write_bytes(parquet)
    assert len(reader.parts(str(tmp_path / "none"), len(parquet))) == 1  # a small file is not opened
    parts = reader.parts(str(tmp_path / "f"), SMALL_BYTES + 1)
    assert parts == [Part(0, 3), Part(3, 6), Part(6, 9), Part(9, 10)]
    chunks = [chunk for part in parts for chunk in read(reader, parquet, columns, part)]
    assert texts(chunks) == [f"text {n}" for n in range(100)]
    assert [position for chunk in chunks for position in chunk.positions] == [f"f#{n + 1}" for n in range(100)]
    assert chunks[0].rows.schema.field("day").type == pa.date32()


def test_large_parquet_row_groups_are_parts_of_their_own(
    parquet: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_reader, "PART_BYTES", 1)
    (tmp_path / "f").write_bytes(parquet)
    parts = ParquetReader().parts(str(tmp_path / "f"), SMALL_BYTES + 1)
    assert parts == [Part(group, group + 1) for group in range(10)]


@pytest.mark.parametrize("name", ["text", "ticket.body"])
def test_parquet_large_rows_make_small_chunks(name: str) -> None:
    """A chunk is in memory at once: thousands of rows with a picture each are not."""
    table = pa.table({name: [f"{row:06}" + "x" * (64 << 10) for row in range(300)], "unused": [b"y" * (1 << 20)] * 300})
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=150)
    chunks = read(ParquetReader(), out.getvalue(), Columns({"text": name}, pa.schema([])))
    assert texts(chunks) == table.column(name).to_pylist()
    sizes = [sum(map(len, chunk.fields["text"])) for chunk in chunks]
    assert CHUNK_BYTES / 2 < max(sizes) <= CHUNK_BYTES
    assert [position for chunk in chunks for position in chunk.positions] == [f"f#{row}" for row in range(1, 301)]


def test_parquet_damage_is_the_files_failure(parquet: bytes) -> None:
    assert failures(read(ParquetReader(), parquet[:-200])) == [("f", "file_unreadable")]
    assert failures(read(ParquetReader(), b"no parquet")) == [("f", "file_unreadable")]


def test_parquet_invalid_utf8_fails_alone() -> None:
    values = pa.array([b"good", b"\xff\xfe", b"also good"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, values.buffers())
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": text}), sink)
    chunks = read(ParquetReader(), sink.getvalue(), Columns({"text": "text"}, pa.schema([])))
    assert texts(chunks) == ["good", "also good"]
    assert failures(chunks) == [("f#2", "row_not_utf8")]


def test_parquet_columns_missing_in_one_file_are_null(parquet: bytes) -> None:
    columns = Columns({"text": "text"}, pa.schema([("text", pa.string()), ("extra", pa.int64())]))
    chunk = next(iter(read(ParquetReader(), parquet, columns)))
    assert chunk.rows.column("extra").null_count == len(chunk.rows)


def gzipped(lines: int) -> bytes:
    return gzip.compress(b"".join(json.dumps({"text": f"row {n} " + "x" * n}).encode() + b"\n" for n in range(lines)))


@pytest.fixture
def cut_gzip(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "cut.ndjson.gz"
    path.write_bytes(gzipped(3000)[:-500])
    yield str(path)


def test_gzip_cut_short_is_reported_after_its_rows(cut_gzip: str) -> None:
    with open_file(cut_gzip) as file:
        chunks = list(NdjsonReader().read(file, Part(), TEXT, "cut"))
    assert 1000 < len(texts(chunks)) < 3000
    assert texts(chunks)[:1] == ["row 0 "]
    [failure] = [failure for chunk in chunks for failure in chunk.failures]
    assert failure.code == "file_unreadable"
    assert f"after {len(texts(chunks))} lines" in failure.message
