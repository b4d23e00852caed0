"""Small files that would take gigabytes or hours: each is bounded, and good rows around it stay."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.chunks import CHUNK_BYTES
from pipelines.readers import Columns, Part
from pipelines.readers.csv import CsvReader
from pipelines.readers.ndjson import NdjsonReader
from pipelines.readers.parquet import ParquetReader
from pipelines.readers.typing import unified
from tests.pipelines.test_readers import failures, read, texts


def test_csv_lines_and_cells_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.readers.csv.MAX_ROW_CHARS", 100)
    monkeypatch.setattr("pipelines.readers.csv.READ_CHARS", 64)
    lines = ["text,n", "a,1", "x" * 1_000, "b,2", '"' + "y" * 500, "c,3", '"' + "z\n" * 60, "d,4", "e" * 101]
    chunks = read(CsvReader(","), "\n".join(lines).encode())
    assert [text for text in texts(chunks) if text in "abcd"] == ["a", "b", "c", "d"]
    codes = dict(failures(chunks))
    assert codes["f#3"] == codes["f#5"] == "row_too_long"
    assert codes["f#7"] == "row_malformed"  # a cell of many lines is bounded as a whole


def test_csv_lines_that_each_open_a_quote_are_not_read_as_often_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line both closes a quote and opens one: read from any of them, the cell never ends."""
    monkeypatch.setattr("pipelines.readers.csv.LEAST_ROW_LINES", 2)
    monkeypatch.setattr("pipelines.readers.csv.MAX_ROW_LINES", 64)
    chunks = read(CsvReader(","), b"text,n\n" + b'b","\n' * 500 + b"last,1\n")
    assert len(failures(chunks)) == 500 and texts(chunks) == ["last"]
    allowed = [re.search(r"more than (\d+) lines", failure.message) for failure in chunks[0].failures]
    # What is read again and again has become short.
    assert [int(found[1]) for found in allowed if found][:8] == [64, 32, 16, 8, 4, 2, 2, 2]


def test_csv_headers_are_names_each_once() -> None:
    schema = CsvReader(",").schema(io.BytesIO(b"text,labels,text,text_2,labels\n"))
    assert schema.names == ["text", "labels", "text_3", "text_2", "labels_2"]
    chunks = read(CsvReader(","), b"text,n,text\nmine,1,forged\n", Columns({"text": "text"}, schema))
    assert texts(chunks) == ["mine"]


@pytest.mark.parametrize("header", [",".join(f"c{n}" for n in range(10_001)), "x" * 200_000])
def test_csv_headers_that_no_table_has_are_damage(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.readers.csv.MAX_ROW_CHARS", 100_000)
    [chunk] = read(CsvReader(","), header.encode() + b"\na,b\n")
    [failure] = chunk.failures
    assert failure.code == "file_unreadable"


def test_ndjson_lines_hold_so_many_values() -> None:
    bomb = b'{"text": "a", "b": [' + b"[]," * 4_000_001 + b"1]}"
    assert failures(read(NdjsonReader(), bomb)) == [("f@0", "row_too_long")]
    assert texts(read(NdjsonReader(), b'{"text": "' + b"a b" * 2_000_000 + b'"}')) == ["a b" * 2_000_000]


def test_ndjson_keys_that_are_data_are_kept_as_json() -> None:
    rows = [{"text": "a", "scores": {f"user_{n}": n}, "seats": {"a": n}} for n in range(400)]
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    schema = NdjsonReader().schema(io.BytesIO(content))
    assert schema.field("scores").type == pa.string() and pa.types.is_struct(schema.field("seats").type)
    [chunk] = read(NdjsonReader(), content + b'{"text": "b", "scores": 7}\n', Columns({"text": "text"}, schema))
    found = chunk.rows.column("scores").to_pylist()
    assert [json.loads(value) for value in found[:-1]] == [row["scores"] for row in rows] and found[-1] == "7"
    assert set(chunk.rows.column("_rescued_data").to_pylist()) == {None}
    few = NdjsonReader().schema(io.BytesIO(b'{"text": "a", "scores": {"x": 1}}'))
    assert unified([few, schema]).field("scores").type == pa.string()


def test_ndjson_rows_whose_keys_are_data_have_few_columns() -> None:
    rows = [{f"user_{n}_{m}": m for m in range(5)} | {"text": "a"} for n in range(400)]
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    schema = NdjsonReader().schema(io.BytesIO(content))
    assert "text" in schema.names and len(schema) == 1_001
    [chunk] = read(NdjsonReader(), content, Columns({"text": "text"}, schema))
    assert json.loads(chunk.rows.column("_rescued_data")[399].as_py()) == {f"user_399_{m}": m for m in range(5)}


@pytest.mark.parametrize("nested", [False, True])
def test_parquet_values_that_repeat_are_decoded_in_steps(tmp_path: Path, nested: bool) -> None:
    """Half a kilobyte on disk, 256 MB in memory if all rows were decoded at once."""
    rows, value = 4_096, "x" * (1 << 16)
    column: Any = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [value])
    if nested:
        column = pa.ListArray.from_arrays(pa.array(range(rows + 1), pa.int32()), column)
    table = pa.table({"text": ["a"] * rows, "value": column})
    pq.write_table(table, tmp_path / "f", store_schema=False, compression="zstd", dictionary_pagesize_limit=1 << 20)
    assert (tmp_path / "f").stat().st_size < 2_000
    before, seen = pa.total_allocated_bytes(), 0
    with (tmp_path / "f").open("rb") as file:
        columns = Columns({"text": "text"}, ParquetReader().schema(file))
        for chunk in ParquetReader().read(file, Part(), columns, "f"):
            assert not chunk.failures and chunk.rows.nbytes <= 2 * CHUNK_BYTES
            assert pa.total_allocated_bytes() - before < 160 << 20
            seen += len(chunk.positions)
    assert seen == rows
