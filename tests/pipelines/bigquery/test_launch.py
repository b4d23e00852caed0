"""What is wrong with tables is said before a record is read, with its place, its value and what to do."""

import sys
from pathlib import Path
from typing import Any

import pytest

from classer_core import JobError
from pipelines.bigquery import clients
from pipelines.job import parse_job
from runners.local import run_job
from tests.pipelines.bigquery.warehouse import LABELS, Warehouse, column, string

Found = list[tuple[str, str, str]]


def problems(warehouse: Warehouse, folder: Path, source: Any, output: Any = None, **more: Any) -> Found:
    with pytest.raises(JobError) as error:
        warehouse.run(folder, warehouse.job(folder, source, output or {}, **more), load_never)
    assert all(problem.remedy for problem in error.value.problems)
    return [(problem.place, problem.value, problem.message) for problem in error.value.problems]


def load_never() -> Any:
    raise AssertionError("a job with problems read a record")


@pytest.mark.integration
def test_problems_of_a_source(tmp_path: Path, warehouse: Warehouse) -> None:
    warehouse.create("tickets", string("id"), string("text"), column("span", "INTERVAL"))
    name = warehouse.name
    [(place, value, message)] = problems(warehouse, tmp_path, {"table": name("nothing")})
    assert (place, value) == ("source.table", repr(name("nothing")))
    assert message.startswith("is not there: Not found: table")
    [(place, value, message)] = problems(warehouse, tmp_path, {"table": "proj-test.nowhere.tickets"})
    assert (place, message[:12]) == ("source.table", "is not there")
    [(place, value, message)] = problems(warehouse, tmp_path, {"query": f"SELECT nothing FROM `{name('tickets')}`"})
    assert (place, message[:15]) == ("source.query", "is not accepted")
    assert "nothing" in message
    [(place, _, message)] = problems(warehouse, tmp_path, {"table": name("tickets")})
    assert (place, message) == ("source.table", "column 'span' is INTERVAL, which can't be read as Arrow")
    query = {"query": f"SELECT id, text FROM `{name('tickets')}`"}
    columns = {"columns": {"text": "body"}}
    assert problems(warehouse, tmp_path, query | columns) == [
        ("source.columns.text", "body", "is not a column of the source")
    ]
    assert problems(warehouse, tmp_path, query, passthrough=["state"]) == [
        ("passthrough", "state", "is not a column of the source")
    ]


@pytest.mark.integration
def test_problems_of_an_output(tmp_path: Path, warehouse: Warehouse) -> None:
    warehouse.create("tickets", string("id"), string("text"), string("state", "REPEATED"))
    source = {"table": warehouse.name("tickets")}
    [(place, value, message)] = problems(warehouse, tmp_path, source, {"table": "proj-test.nowhere.results"})
    assert (place, value, message[:12]) == ("output.table", "'proj-test.nowhere.results'", "is not there")
    warehouse.create("needs", string("id", "REQUIRED"), string("tenant", "REQUIRED"), column("label", "INT64"))
    assert problems(warehouse, tmp_path, source, {"table": warehouse.name("needs")}) == [
        ("output.table", "label", "is INT64 in the table and STRING in this job; types are not changed"),
        ("output.table", "tenant", "is REQUIRED in the table, and the job has no such column"),
    ]
    load = {"method": "load", "temporary": "gs://no-such-bucket/x"}
    assert problems(warehouse, tmp_path, source, load) == [
        ("output.temporary", "'gs://no-such-bucket/x'", "is not there")
    ]
    warehouse.query("CREATE VIEW `$.view` AS SELECT * FROM `$.tickets`")
    [(place, _, message)] = problems(warehouse, tmp_path, source, {"table": warehouse.name("view")})
    assert (place, message) == ("output.table", "is a VIEW")
    merge = {"write": "merge", "key": ["state", "tenant", "label", "classified_at"]}
    assert problems(warehouse, tmp_path, source, merge) == [
        ("output.key", "state", "is STRING, which rows can't be found by"),
        *(("output.key", name, "is not a column that the source gives the results") for name in merge["key"][1:]),
    ]
    query = {"query": f"SELECT id, text, id AS `order no` FROM `{source['table']}`"}
    assert [value for _, value, _ in problems(warehouse, tmp_path, query, merge)] == ["'order no'"]
    source["columns"] = {"text": "text", "id": "text"}
    assert problems(warehouse, tmp_path, {"query": f"SELECT text FROM `{source['table']}`"}, {"write": "merge"}) == [
        ("source.columns.id", "id", "is not a column of the source, and rows merge by it")
    ]
    query = {"query": f"SELECT id, text, id AS `order no`, id AS `Label` FROM `{source['table']}`"}
    found = problems(warehouse, tmp_path, query)
    assert [(place, value) for place, value, _ in found] == [("passthrough", "'order no'"), ("passthrough", "'Label'")]
    assert {table.table_id for table in warehouse.client.list_tables(warehouse.dataset)} == {"needs", "tickets", "view"}


@pytest.mark.integration
def test_problems_of_a_watermark(tmp_path: Path, warehouse: Warehouse) -> None:
    warehouse.create("tickets", string("id"), string("text"))
    for name, message in (("nothing", "is not a column of the table"), ("text", "is STRING")):
        source = {"table": warehouse.name("tickets"), "watermark": name}
        assert problems(warehouse, tmp_path, source, {"write": "merge"}) == [("source.watermark", repr(name), message)]
    warehouse.create("dated", string("id"), string("text"), column("changed", "DATE"))
    source = {"table": warehouse.name("dated"), "watermark": "changed"}
    assert problems(warehouse, tmp_path, source, {"write": "merge"}, passthrough=False) == [
        ("source.watermark", "changed", "is not passed through, and says which row is newer")
    ]


@pytest.mark.parametrize("kind", ["none", "broken"])
def test_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Without any, or with a key file that is none; its content is in no message."""
    for name in (clients.REST_EMULATOR, clients.STORAGE_EMULATOR, "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    clients.rest_client.cache_clear()
    if kind == "broken":
        (tmp_path / "key.json").write_text('{"type": "service_account", "private_key": "s3cret"}')
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    job = {
        "source": {"format": "bigquery", "table": "p.d.t"},
        "output": {"format": "bigquery", "table": "p.d.r"},
        "labels": LABELS,
    }
    with pytest.raises(JobError) as error:
        run_job(parse_job(job, tmp_path / "job.yaml"), tmp_path, load=load_never)
    [problem] = error.value.problems
    assert (problem.place, problem.message) == ("source.table", "finds no credentials of Google Cloud")
    assert "gcloud auth application-default login" in problem.remedy
    assert "s3cret" not in str(error.value)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud.bigquery", None)
    document = {"source": {"format": "bigquery", "table": "p.d.t"}, "output": {"path": "out"}, "labels": ["a"]}
    with pytest.raises(JobError) as raised:
        run_job(parse_job(document, tmp_path / "job.yaml"), tmp_path)
    assert "source.table = bigquery: needs Google Cloud's libraries" in str(raised.value)
    assert "pip install 'classer-pipelines[gcp]'" in str(raised.value)


def test_bounds_are_for_one_process(tmp_path: Path) -> None:
    output = {"format": "bigquery", "table": "p.d.r", "write": "merge"}
    job = {"source": {"format": "bigquery", "table": "p.d.t"}, "output": output, "labels": LABELS}
    parsed = parse_job({**job, "only": "stale", "max_rows": 10}, tmp_path / "job.yaml")
    with pytest.raises(JobError, match="max_rows = 10: is counted by runs in one process"):
        run_job(parsed, tmp_path, beam_args=["--direct_running_mode=multi_processing", "--direct_num_workers=2"])


MERGED = {"format": "bigquery", "table": "p.d.f", "write": "merge"}
# Keys of source, output and job; the problem's place; a part of what is said.
WRONG: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str, str]] = [
    ({"query": "SELECT 1"}, {}, {}, "source", "give either table or query"),
    ({"table": "d.t"}, {}, {}, "source.table", "string should match pattern"),
    ({"table": "p.d.t`; DROP TABLE x"}, {}, {}, "source.table", "string should match pattern"),
    ({"watermark": "a` OR 1"}, {}, {}, "source.watermark", "string should match pattern"),
    ({"watermark": "changed"}, {}, {}, "source.watermark", "needs a table that says how far the last run came"),
    ({}, {"table": "p.d.t"}, {}, "output.table", "is the job's own source"),
    ({}, {"key": "id"}, {}, "output", "key is for write: merge"),
    ({}, {"write": "merge", "key": ["a`b"]}, {}, "output.key.0", "string should match pattern"),
    ({}, {"method": "load"}, {}, "output", "method: load and temporary: gs://bucket/folder go together"),
    ({}, {"method": "insert"}, {}, "output.method", "'storage' or 'load'"),
    ({}, {}, {"only": "stale"}, "only", "would append rows that are there"),
    ({}, {}, {"max_rows": 5}, "max_rows", "needs a table to go on from"),
    ({}, {"write": "merge"}, {"max_tokens": 5}, "max_tokens", "needs a table to go on from"),
    (
        {},
        {},
        {"failures": {"format": "bigquery", "table": "p.d.f", "write": "merge"}},
        "failures.write",
        "is for results",
    ),
]


@pytest.mark.parametrize(("source", "output", "more", "place", "message"), WRONG)
def test_wrong_jobs(
    tmp_path: Path, source: dict[str, Any], output: dict[str, Any], more: dict[str, Any], place: str, message: str
) -> None:
    given = {"format": "bigquery", "table": "p.d.t", **source}
    document = {"source": given, "output": {"format": "bigquery", "table": "p.d.r", **output}, "labels": LABELS, **more}
    with pytest.raises(JobError) as error:
        parse_job(document, tmp_path / "job.yaml")
    assert [problem.place.partition(": ")[2] for problem in error.value.problems] == [place]
    assert message in error.value.problems[0].message


def test_a_stream_only_appends(tmp_path: Path) -> None:
    stream = {"format": "kafka", "bootstrap_servers": "b:9092", "topic": "t", "group": "g"}
    for output in ({"write": "merge"}, {"write": "replace"}, {"method": "load", "temporary": "gs://b/t"}):
        document = {"source": stream, "output": {"format": "bigquery", "table": "p.d.r", **output}, "labels": LABELS}
        with pytest.raises(JobError, match=r"output = .*: needs a source that ends"):
            parse_job(document, tmp_path / "job.yaml")


def test_where_failures_go(tmp_path: Path) -> None:
    document = {
        "source": {"format": "bigquery", "table": "p.d.t"},
        "output": {"format": "bigquery", "table": "p.d.r", "write": "merge", "method": "load", "temporary": "gs://b/t"},
        "labels": LABELS,
    }
    failures = parse_job(document, tmp_path / "job.yaml").failures_output
    assert (failures.table, failures.write, failures.method) == ("p.d.r_failures", "append", "load")
