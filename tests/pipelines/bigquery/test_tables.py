"""Tables in, tables out: a whole job on a BigQuery emulator."""

import gc
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from classer_core import JobError
from pipelines.bigquery.read import open_streams, stream_batches
from pipelines.bigquery.schema import arrow_schema, type_of
from pipelines.job import parse_job
from pipelines.sample import records_of, sample_records
from runners.dry_run import dry_run
from runners.evaluation import evaluate_job
from runners.preview import first_rows, preview
from tests.fakes import load
from tests.pipelines.bigquery.warehouse import LABELS, Warehouse, column, string
from tests.servers.bigquery import BigQueryServer

pytestmark = pytest.mark.integration


def tickets(count: int) -> pa.Table:
    return pa.table(
        {
            "ticket": [f"t{number:05}" for number in range(count)],
            "body": [f"{LABELS[number % 3]} question {number}" for number in range(count)],
            "amount": pa.array(range(count), pa.int64()),
            "secret": ["never read"] * count,
        }
    )


def create_tickets(warehouse: Warehouse, count: int) -> dict[str, Any]:
    fields = [string("ticket", description="Number of the ticket."), string("body")]
    warehouse.create("tickets", *fields, column("amount", "INT64"), string("secret"))
    warehouse.fill("tickets", tickets(count))
    return {"table": warehouse.name("tickets"), "columns": {"id": "ticket", "text": "body"}}


def test_a_table_becomes_a_table(tmp_path: Path, warehouse: Warehouse) -> None:
    source = create_tickets(warehouse, 3_000)
    summary = warehouse.run(tmp_path, warehouse.job(tmp_path, source, {}, passthrough=["amount", "ticket"]))
    assert (summary.records, summary.results, summary.failures) == (3_000, 3_000, {})
    rows = warehouse.rows("results")
    assert [row["id"] for row in rows] == [f"t{number:05}" for number in range(3_000)]
    assert all(row["label"] == LABELS[row["amount"] % 3] for row in rows)
    assert "secret" not in rows[0]
    assert all(datetime.now(UTC) - row["classified_at"] < timedelta(minutes=5) for row in rows)
    table = warehouse.client.get_table(warehouse.name("results"))
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("DAY", "classified_at")
    assert table.clustering_fields == ["label"]
    assert all(field.description for field in table.schema)
    described = {field.name: field.description for field in table.schema}
    assert described["ticket"] == "Number of the ticket."
    types = {field.name: (field.field_type, field.mode) for field in table.schema}
    assert types["id"] == ("STRING", "REQUIRED")
    assert types["labels"] == ("RECORD", "REPEATED")
    assert types["classified_at"] == ("TIMESTAMP", "REQUIRED")
    assert warehouse.rows("results_failures") == []


def test_a_query_is_read_like_a_table(tmp_path: Path, warehouse: Warehouse) -> None:
    create_tickets(warehouse, 100)
    query = (
        f"SELECT ticket AS id, body AS text, amount * 2 AS twice FROM `{warehouse.name('tickets')}` WHERE amount < 10"
    )
    warehouse.run(tmp_path, warehouse.job(tmp_path, {"query": query}, {}))
    rows = warehouse.rows("results")
    assert [(row["id"], row["twice"]) for row in rows] == [(f"t{number:05}", 2 * number) for number in range(10)]
    assert [row["label"] for row in rows] == [LABELS[number % 3] for number in range(10)]


def test_a_view_is_read_by_a_query(tmp_path: Path, warehouse: Warehouse) -> None:
    create_tickets(warehouse, 10)
    warehouse.query("CREATE VIEW `$.view` AS SELECT ticket AS id, body AS text FROM `$.tickets` WHERE amount >= 5")
    warehouse.run(tmp_path, warehouse.job(tmp_path, {"table": warehouse.name("view")}, {}))
    assert [row["id"] for row in warehouse.rows("results")] == [f"t{number:05}" for number in range(5, 10)]


def test_large_tables_are_read_in_parts(tmp_path: Path, warehouse: Warehouse) -> None:
    source = create_tickets(warehouse, 60_000)
    job = warehouse.job(tmp_path, source, {}, passthrough=False)
    streams = open_streams(job.source, job.source.find_columns(job.selection))
    assert len(streams) > 1
    assert sum(len(batch) for stream in streams for batch in stream_batches(stream)) == 60_000
    warehouse.run(tmp_path, job)
    [counts] = warehouse.query("SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM `$.results`")
    assert counts == {"n": 60_000, "ids": 60_000}


def test_rows_without_an_id_have_the_same_one_every_time(tmp_path: Path, warehouse: Warehouse) -> None:
    create_tickets(warehouse, 20)
    source = {"table": warehouse.name("tickets"), "columns": {"text": "body"}}
    for table in ("one", "two"):
        warehouse.run(tmp_path, warehouse.job(tmp_path, source, {"table": warehouse.name(table)}))
    one, two = ({row["ticket"]: row["id"] for row in warehouse.rows(table)} for table in ("one", "two"))
    assert one == two
    assert len(set(one.values())) == 20


@pytest.mark.parametrize("method", ["storage", "load"])
def test_every_type_comes_and_goes(tmp_path: Path, warehouse: Warehouse, method: str) -> None:
    """All scalar types, a list and a struct, from table to table, with their values and their own types."""
    moment = datetime(2026, 2, 3, 4, 5, 6, 789, UTC)
    values = {
        "a_string": "ü",
        "a_bytes": b"\x00\xff",
        "an_int": -(2**63),
        "a_float": 0.1,
        "a_bool": True,
        "a_numeric": Decimal("-12345678901234567890123456789.123456789"),
        "a_date": date(1, 1, 1),
        "a_time": time(23, 59, 59, 999_999),
        "a_datetime": moment.replace(tzinfo=None),
        "a_timestamp": moment,
        "a_list": ["x", "y"],
        "a_struct": {"nested": 7},
    }
    fields = [
        string("a_string"),
        column("a_bytes", "BYTES"),
        column("an_int", "INT64"),
        column("a_float", "FLOAT64"),
        column("a_bool", "BOOL"),
        column("a_numeric", "NUMERIC"),
        column("a_date", "DATE"),
        column("a_time", "TIME"),
        column("a_datetime", "DATETIME"),
        column("a_timestamp", "TIMESTAMP"),
        string("a_list", "REPEATED"),
        column("a_struct", "RECORD", fields=[column("nested", "INT64")]),
    ]
    warehouse.create("types", string("id"), string("text"), *fields)
    types = arrow_schema(fields)
    rows = [{"id": "1", "text": "billing", **values}, {"id": "2", "text": "sales", **dict.fromkeys(values)}]
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), *types])
    warehouse.fill("types", pa.Table.from_pylist(rows, schema=schema))
    output = {"method": method, "temporary": f"{warehouse.bucket}/temporary"} if method == "load" else {}
    warehouse.run(tmp_path, warehouse.job(tmp_path, {"table": warehouse.name("types")}, output))
    full, empty = warehouse.rows("results")
    assert {name: full[name] for name in values} == values
    assert {name: empty[name] or None for name in values if name != "a_struct"} == dict.fromkeys(
        values.keys() - {"a_struct"}
    )
    written = {field.name: field for field in warehouse.client.get_table(warehouse.name("results")).schema}
    assert [(type_of(written[field.name]), written[field.name].mode) for field in fields] == [
        (type_of(field), field.mode) for field in fields
    ]


def test_several_labels_are_a_repeated_record(tmp_path: Path, warehouse: Warehouse) -> None:
    warehouse.create("tickets", string("id"), string("text"))
    rows = {"id": ["both", "none", "one"], "text": ["billing and sales", "nothing", "technical"]}
    warehouse.fill("tickets", pa.table(rows))
    warehouse.run(tmp_path, warehouse.job(tmp_path, {"table": warehouse.name("tickets")}, {}, mode="multi"))
    found = {row["id"]: {item["label"] for item in row["labels"]} for row in warehouse.rows("results")}
    assert found == {"both": {"billing", "sales"}, "none": set(), "one": {"technical"}}


@pytest.mark.parametrize("method", ["storage", "load"])
def test_runs_append_or_replace(tmp_path: Path, warehouse: Warehouse, method: str) -> None:
    source = create_tickets(warehouse, 10)
    load = {"method": method, "temporary": f"{warehouse.bucket}/temporary"} if method == "load" else {}
    job = warehouse.job(tmp_path, source, load)
    for runs in (1, 2):
        warehouse.run(tmp_path, job)
        assert len(warehouse.rows("results")) == 10 * runs
    warehouse.query("DELETE FROM `$.tickets` WHERE amount >= 4")
    warehouse.run(tmp_path, warehouse.job(tmp_path, source, {"write": "replace", **load}))
    assert [row["id"] for row in warehouse.rows("results")] == [f"t{number:05}" for number in range(4)]
    table = warehouse.client.get_table(warehouse.name("results"))
    assert table.time_partitioning.field == "classified_at"
    assert staging_tables(warehouse) == []
    warehouse.query("DELETE FROM `$.tickets` WHERE TRUE")
    warehouse.run(tmp_path, warehouse.job(tmp_path, source, {"write": "replace", **load}))
    assert warehouse.rows("results") == []


def test_new_columns_are_added_and_types_never_changed(tmp_path: Path, warehouse: Warehouse) -> None:
    source = create_tickets(warehouse, 5)
    warehouse.run(tmp_path, warehouse.job(tmp_path, source, {}, passthrough=["ticket"]))
    warehouse.query("DELETE FROM `$.results` WHERE id > 't00001'")
    warehouse.run(tmp_path, warehouse.job(tmp_path, source, {}, passthrough=["ticket", "amount"]))
    rows = warehouse.rows("results", "id, amount")
    assert sorted((row["id"], row["amount"] is None) for row in rows)[:4] == [
        ("t00000", False),
        ("t00000", True),
        ("t00001", False),
        ("t00001", True),
    ]
    query = f"SELECT ticket AS id, body AS text, ticket, CAST(amount AS STRING) AS amount FROM `{source['table']}`"
    with pytest.raises(JobError) as error:
        warehouse.run(tmp_path, warehouse.job(tmp_path, {"query": query}, {}))
    [problem] = error.value.problems
    assert (problem.place, problem.value) == ("output.table", "amount")
    assert problem.message == "is INT64 in the table and STRING in this job; types are not changed"
    assert warehouse.rows("results", "id, amount") == rows


def staging_tables(warehouse: Warehouse) -> list[str]:
    names = [table.table_id for table in warehouse.client.list_tables(warehouse.dataset)]
    return [name for name in names if name.startswith("_classer")]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_beams_own_connector_reads_what_we_write(tmp_path: Path, warehouse: Warehouse, server: BigQueryServer) -> None:
    from apache_beam.io.gcp.internal.clients.bigquery import DatasetReference

    from tests.servers.beam_bigquery import beams_connectors

    warehouse.run(tmp_path, warehouse.job(tmp_path, create_tickets(warehouse, 300), {}, passthrough=["amount"]))
    project, dataset = warehouse.dataset.split(".")
    read = beam.io.ReadFromBigQuery(
        table=f"{project}:{dataset}.results",
        method="DIRECT_READ",
        temp_dataset=DatasetReference(projectId=project, datasetId=dataset),
    )
    options = PipelineOptions([f"--project={project}", f"--temp_location={warehouse.bucket}/temporary"])
    with beams_connectors(server), beam.Pipeline("FnApiRunner", options) as pipeline:
        found = pipeline | read | beam.Map(lambda row: (row["id"], row["label"], row["amount"]))
        expected = [(row["id"], row["label"], row["amount"]) for row in warehouse.rows("results")]
        assert len(expected) == 300
        assert_that(found, equal_to(expected))
    gc.collect()  # Beam leaves connections open


def test_a_sample_and_a_preview(tmp_path: Path, warehouse: Warehouse) -> None:
    """What `classer tune`, `compare` and `run --preview` look at."""
    job = warehouse.job(tmp_path, create_tickets(warehouse, 100), {})
    sampled = sample_records(job, "", 10)
    assert len({record.id for record in sampled}) == 10
    assert all(record.text.endswith(str(int(record.id[1:]))) for record in sampled)
    assert [record.id for record in records_of(job, "", {"t00007"})] == ["t00007"]
    warehouse.run(tmp_path, job)
    assert len({row["id"] for row in first_rows(job, 5)}) == 5
    assert preview(job, 3).row_count == 3


def test_a_dry_run_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BIGQUERY_EMULATOR_HOST", "BIGQUERY_STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    section = {"format": "bigquery", "table": "p.d.tickets", "columns": {"id": "ticket", "text": "body"}}
    output = {"format": "bigquery", "table": "p.d.results", "write": "merge"}
    job = parse_job({"source": section, "output": output, "labels": LABELS, "only": "stale"}, tmp_path / "job.yaml")
    steps = {"/".join(step.split("/")[:4]) for step in dry_run(job, tmp_path, "local").steps}
    assert "Records/ReadRecords/Parts" in steps
    assert {"PublishRows/Table0", "PublishRows/Table1"} <= steps
    assert [step for step in steps if step.startswith("WriteResults/") and step.endswith("/AppendRows")]


def test_results_are_a_source_too(tmp_path: Path, warehouse: Warehouse) -> None:
    """Columns that are named like ours get a prefix."""
    warehouse.run(tmp_path, warehouse.job(tmp_path, create_tickets(warehouse, 5), {}))
    columns = {"id": "ticket", "text": "body"}
    source = {"table": warehouse.name("results"), "columns": columns}
    passed = ["label", "classified_at", "amount"]
    warehouse.run(tmp_path, warehouse.job(tmp_path, source, {"table": warehouse.name("again")}, passthrough=passed))
    first = {row["id"]: row for row in warehouse.rows("results")}
    for row in warehouse.rows("again"):
        assert row["input_label"] == first[row["id"]]["label"]
        assert row["input_classified_at"] == first[row["id"]]["classified_at"] < row["classified_at"]


def test_a_tables_answers_are_judged(tmp_path: Path, warehouse: Warehouse) -> None:
    """Gold rows name ids of the table."""
    job = warehouse.job(tmp_path, create_tickets(warehouse, 30), {"write": "merge"}, only="stale", max_rows=1)
    (tmp_path / "gold.csv").write_text("ticket,label\n" + "".join(f"t{n:05},{LABELS[n % 3]}\n" for n in range(12)))
    report = evaluate_job(job, tmp_path / "job.yaml", str(tmp_path / "gold.csv"), load=load)
    assert (report.judged, report.accuracy.value) == (12, 1.0)
