"""Types of Arrow and of BigQuery, without a server."""

import pyarrow as pa
import pytest
from google.cloud.bigquery import SchemaField

from classer_core.records import FAILURE_SCHEMA
from pipelines.bigquery.names import TableName, is_column, quoted
from pipelines.bigquery.schema import (
    UnsupportedTypeError,
    arrow_schema,
    differences,
    result_table_schema,
    schema_problems,
    table_fields,
    type_of,
)
from pipelines.chunks import output_schema


def test_results_and_failures_are_described_and_typed() -> None:
    fields = {field.name: field for field in table_fields(result_table_schema(output_schema(pa.schema([]))))}
    assert all(field.description for field in fields.values())
    assert (fields["id"].field_type, fields["id"].mode) == ("STRING", "REQUIRED")
    assert (fields["confidence"].field_type, fields["confidence"].mode) == ("FLOAT64", "NULLABLE")
    labels = fields["labels"]
    assert (labels.field_type, labels.mode) == ("RECORD", "REPEATED")
    assert [(item.name, item.field_type) for item in labels.fields] == [("label", "STRING"), ("confidence", "FLOAT64")]
    assert (fields["classified_at"].field_type, fields["classified_at"].mode) == ("TIMESTAMP", "REQUIRED")
    failures = {field.name: field for field in table_fields(FAILURE_SCHEMA)}
    assert all(field.description for field in failures.values())
    assert failures["attempted_at"].field_type == "TIMESTAMP"


@pytest.mark.parametrize(
    ("type_", "name", "mode"),
    [
        (pa.int8(), "INT64", "NULLABLE"),
        (pa.uint64(), "INT64", "NULLABLE"),
        (pa.float16(), "FLOAT64", "NULLABLE"),
        (pa.dictionary(pa.int32(), pa.string()), "STRING", "NULLABLE"),
        (pa.large_string(), "STRING", "NULLABLE"),
        (pa.null(), "STRING", "NULLABLE"),
        (pa.binary(16), "BYTES", "NULLABLE"),
        (pa.date64(), "DATE", "NULLABLE"),
        (pa.timestamp("ns"), "DATETIME", "NULLABLE"),
        (pa.timestamp("ms", tz="Europe/Berlin"), "TIMESTAMP", "NULLABLE"),
        (pa.decimal128(38, 9), "NUMERIC", "NULLABLE"),
        (pa.decimal128(38, 10), "BIGNUMERIC", "NULLABLE"),
        (pa.large_list(pa.int32()), "INT64", "REPEATED"),
        (pa.list_(pa.struct([("a", pa.int64())])), "RECORD", "REPEATED"),
    ],
)
def test_columns_of_arrow_types(type_: pa.DataType, name: str, mode: str) -> None:
    [field] = table_fields(pa.schema([("column", type_)]))
    assert (field.field_type, field.mode) == (name, mode)
    assert arrow_schema([field]).names == ["column"]


@pytest.mark.parametrize(
    "type_",
    [pa.list_(pa.list_(pa.int64())), pa.map_(pa.string(), pa.int64()), pa.duration("s"), pa.struct([])],
)
def test_types_that_no_table_has(type_: pa.DataType) -> None:
    with pytest.raises(UnsupportedTypeError):
        table_fields(pa.schema([("column", type_)]))
    [problem] = schema_problems("passthrough", pa.schema([("column", type_)]))
    assert problem.value == "'column'"


def test_json_and_geography_stay_what_they_are() -> None:
    fields = [
        SchemaField("j", "JSON", description="of a kind"),
        SchemaField("g", "GEOGRAPHY"),
        SchemaField("s", "STRING"),
    ]
    again = table_fields(output_schema(arrow_schema(fields)))[-3:]
    assert [field.field_type for field in again] == ["JSON", "GEOGRAPHY", "STRING"]
    assert again[0].description == "of a kind"


def test_what_a_table_lacks_and_what_stands_against_it() -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.list_(pa.struct([("x", pa.int64())])))])
    table = [
        SchemaField("A", "INTEGER"),
        SchemaField("b", "STRING", max_length=5),
        SchemaField("more", "STRING"),
        SchemaField("filled", "STRING", "REQUIRED", default_value_expression="'x'"),
    ]
    new, problems = differences("output.table", schema, table)
    assert ([field.name for field in new], problems) == (["c"], [])
    nested = SchemaField("c", "RECORD", "REPEATED", fields=[SchemaField("x", "STRING")])
    table = [SchemaField("a", "NUMERIC"), SchemaField("b", "BYTES"), nested, SchemaField("d", "DATE", "REQUIRED")]
    new, problems = differences("output.table", schema, table)
    assert new == []
    assert [(problem.value, problem.message) for problem in problems] == [
        ("b", "is BYTES in the table and STRING in this job; types are not changed"),
        ("c", "is ARRAY<STRUCT<x STRING>> in the table and ARRAY<STRUCT<x INT64>> in this job; types are not changed"),
        ("d", "is REQUIRED in the table, and the job has no such column"),
    ]
    assert type_of(SchemaField("n", "NUMERIC(5, 2)")) == "NUMERIC"


def test_fields_of_structs_are_told_apart_by_case() -> None:
    """Columns are not: those are found by their names in any case, and Arrow's cast would leave these fields empty."""
    table = [SchemaField("C", "RECORD", fields=[SchemaField("name", "STRING")])]
    assert differences("output.table", pa.schema([("c", pa.struct([("name", pa.string())]))]), table) == ([], [])
    _, [problem] = differences("output.table", pa.schema([("c", pa.struct([("Name", pa.string())]))]), table)
    assert problem.message.startswith("is STRUCT<name STRING> in the table and STRUCT<Name STRING> in this job")


def test_names() -> None:
    name = TableName.parse("example.com:project.data.results")
    assert name == ("example.com:project", "data", "results")
    assert name.sql == "`example.com:project.data.results`"
    assert name.staging("r1").dataset == "data"
    assert name.staging("r1") != name._replace(table="other").staging("r1")
    assert quoted("a_1") == "`a_1`"
    for wrong in ("a`b", "a b", "", "1a", "a" * 301, "ä"):
        with pytest.raises(ValueError):
            quoted(wrong)
        assert not is_column(wrong)
    assert not is_column("_PARTITIONTIME")
