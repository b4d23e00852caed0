"""Rows that a table would refuse, found before they are sent; without a server."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from google.cloud.bigquery import SchemaField

from pipelines.bigquery.append import parts
from pipelines.bigquery.checks import MAX_ROW_BYTES, Refusal, RowCheck


def check(
    type_: pa.DataType, values: list[Any], field: SchemaField, key: bool = False
) -> tuple[list[Any], dict[int, str]]:
    """Good values, and reasons by row."""
    schema = pa.schema([("c", type_)])
    batch = pa.RecordBatch.from_arrays([pa.array(values, type_)], schema=schema)
    good, refused = RowCheck(schema, [field], ["c"] if key else ()).check(batch)
    return good.column(0).to_pylist(), {item.row: item.reason for item in refused}


LATE = datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)
CASES: list[tuple[pa.DataType, list[Any], SchemaField, list[Any], dict[int, str]]] = [
    (
        pa.string(),
        ["a", None],
        SchemaField("c", "STRING", "REQUIRED"),
        ["a"],
        {1: "no value, and the column is REQUIRED"},
    ),
    (
        pa.string(),
        ["ü" * 3, "ü" * 4, None],
        SchemaField("c", "STRING", max_length=3),
        ["üüü", None],
        {1: "a length of 4, and the column is STRING(3)"},
    ),
    (
        pa.binary(),
        [b"abc", b"abcd"],
        SchemaField("c", "BYTES", max_length=3),
        [b"abc"],
        {1: "a length of 4, and the column is BYTES(3)"},
    ),
    (
        pa.int64(),
        [99, -100, None],
        SchemaField("c", "NUMERIC", precision=4, scale=2),
        [Decimal("99.000000000"), None],
        {1: "-100.000000000 is outside NUMERIC(4, 2)"},
    ),
    (
        pa.timestamp("us", tz="UTC"),
        [LATE, -62_135_596_800_000_001],
        SchemaField("c", "TIMESTAMP"),
        [LATE],
        {1: "outside the years 1 to 9999 of TIMESTAMP"},
    ),
    (
        pa.list_(pa.string()),
        [["a"], None, ["a", None], []],
        SchemaField("c", "STRING", "REPEATED"),
        [["a"], None, []],
        {2: "an element of the list has no value, which BigQuery does not take"},
    ),
    (pa.uint8(), [1, 255], SchemaField("c", "INT64"), [1, 255], {}),
]


@pytest.mark.parametrize(("type_", "values", "field", "good", "reasons"), CASES)
def test_reasons(type_: pa.DataType, values: list[Any], field: Any, good: list[Any], reasons: dict[int, str]) -> None:
    assert check(type_, values, field) == (good, reasons)


def test_values_that_do_not_fit_are_refused_alone() -> None:
    good, refused = check(pa.uint64(), [1, 2**63, 2], SchemaField("c", "INT64"))
    assert (good, list(refused)) == ([1, 2], [1])
    assert "does not fit" in refused[1]
    values = [Decimal(10) ** 37, Decimal(1)]
    good, refused = check(pa.decimal128(38, 0), values, SchemaField("c", "NUMERIC"))
    assert (good, list(refused)) == ([1], [0])
    bad = pa.array([b"ok", b"\xff\xfe"]).cast(pa.large_binary()).cast(pa.binary()).view(pa.string())
    batch = pa.RecordBatch.from_arrays([bad], names=["c"])
    good_rows, refusals = RowCheck(batch.schema, [SchemaField("c", "STRING")]).check(batch)
    assert (good_rows.column(0).to_pylist(), [item.row for item in refusals]) == (["ok"], [1])


def test_nanoseconds_are_cut() -> None:
    good, refused = check(pa.timestamp("ns"), [1_001], SchemaField("c", "DATETIME"))
    assert (good, refused) == ([datetime(1970, 1, 1, 0, 0, 0, 1)], {})


def test_a_key_needs_a_value() -> None:
    assert check(pa.string(), [None], SchemaField("c", "STRING"), key=True) == ([], {0: "the key has no value"})


def test_one_refusal_a_row_and_columns_in_the_tables_order() -> None:
    schema = pa.schema([("a", pa.string()), ("b", pa.string())])
    table = [SchemaField("B", "STRING", "REQUIRED"), SchemaField("x", "STRING"), SchemaField("A", "STRING", "REQUIRED")]
    batch = pa.RecordBatch.from_pylist([{"a": None, "b": None}, {"a": "a", "b": "b"}], schema=schema)
    good, refused = RowCheck(schema, table).check(batch)
    assert good.to_pylist() == [{"B": "b", "A": "a"}]
    assert refused == [Refusal(0, "B", "no value, and the column is REQUIRED")]


def test_large_rows_are_refused_and_large_batches_are_parted() -> None:
    texts = ["x" * 1_000_000] * 20 + ["y" * (MAX_ROW_BYTES + 1)]
    batch = pa.RecordBatch.from_pydict({"c": texts})
    good, [refused] = RowCheck(batch.schema, [SchemaField("c", "STRING")]).check(batch)
    assert (len(good), refused.row, refused.column) == (20, 20, None)
    found = list(parts(good, 8 << 20))
    assert [start for start, _ in found] == [sum(len(part) for _, part in found[:n]) for n in range(len(found))]
    assert pa.Table.from_batches([part for _, part in found]).num_rows == 20
    assert max(part.nbytes for _, part in found) <= 8 << 20
