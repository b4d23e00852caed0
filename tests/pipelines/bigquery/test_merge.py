"""Enrichment: new and stale rows of a source are classified, and the result table has one current row for each key."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.budget import ROWS_TOGETHER
from pipelines.chunks import CHUNK_ROWS
from pipelines.writers.publish import PublishFiles
from runners.local import RunSummary
from tests.fakes import POISON, CountingModel, load_counting
from tests.pipelines.bigquery.test_tables import staging_tables
from tests.pipelines.bigquery.warehouse import LABELS, Warehouse, column, string

pytestmark = pytest.mark.integration
MERGE = {"write": "merge"}
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(autouse=True)
def counted() -> list[str]:
    CountingModel.texts = []
    return CountingModel.texts


def create(warehouse: Warehouse, count: int) -> dict[str, Any]:
    fields = [string("id"), string("text"), string("state"), column("changed", "TIMESTAMP")]
    warehouse.create("tickets", *fields)
    add(warehouse, range(count))
    return {"table": warehouse.name("tickets")}


def add(warehouse: Warehouse, numbers: Any, state: str = "new", days: int = 0) -> None:
    moments = [MONDAY + timedelta(days=days, seconds=number) for number in numbers]
    rows = {
        "id": [f"{number:05}" for number in numbers],
        "text": [f"{LABELS[number % 3]} {number}" for number in numbers],
        "state": [state for _ in numbers],
        "changed": pa.array(moments, pa.timestamp("us", tz="UTC")),
    }
    warehouse.fill("tickets", pa.table(rows))


def enrich(warehouse: Warehouse, folder: Path, source: dict[str, Any], **more: Any) -> RunSummary:
    job = warehouse.job(folder, source, MERGE, **{"only": "stale", "cache": "none", **more})
    return warehouse.run(folder, job, load_counting)


def test_only_new_and_stale_rows_are_read_and_written(tmp_path: Path, warehouse: Warehouse, counted: list[str]) -> None:
    source = create(warehouse, 50)
    first = enrich(warehouse, tmp_path, source)
    assert (len(counted), first.results, first.current) == (50, 50, 0)
    before = {row["id"]: row for row in warehouse.rows("results")}
    del counted[:]

    again = enrich(warehouse, tmp_path, source)
    assert (counted, again.records, again.current) == ([], 0, 50)
    assert {row["id"]: row for row in warehouse.rows("results")} == before

    warehouse.query("UPDATE `$.tickets` SET text = 'billing now' WHERE id = '00001'")
    warehouse.query("UPDATE `$.tickets` SET state = 'done' WHERE id = '00002'")
    warehouse.query("DELETE FROM `$.tickets` WHERE id = '00003'")
    add(warehouse, range(50, 55))
    summary = enrich(warehouse, tmp_path, source)
    assert sorted(counted) == sorted(["billing now", *(f"{LABELS[n % 3]} {n}" for n in range(50, 55))])
    assert (summary.records, summary.current) == (6, 48)
    after = {row["id"]: row for row in warehouse.rows("results")}
    assert len(warehouse.rows("results")) == len(after) == 55
    assert after["00001"]["label"] == "billing"
    unchanged = before.keys() - {"00001"}  # also those that are gone, or whose other columns changed
    assert {id_: after[id_] for id_ in unchanged} == {id_: before[id_] for id_ in unchanged}
    assert staging_tables(warehouse) == []
    del counted[:]
    assert enrich(warehouse, tmp_path, source, labels=[*LABELS, "other"]).records == 54  # another question
    assert len(counted) == 54


def test_a_known_text_of_another_key_is_not_read(tmp_path: Path, warehouse: Warehouse, counted: list[str]) -> None:
    source = create(warehouse, 3)
    enrich(warehouse, tmp_path, source)
    del counted[:]
    warehouse.query("INSERT INTO `$.tickets` (id, text) VALUES ('other', 'technical 1')")
    summary = enrich(warehouse, tmp_path, source)
    assert (counted, summary.records, summary.cached) == ([], 1, 1)
    assert warehouse.rows("results")[-1]["label"] == "technical"


def test_other_rules_of_abstaining_make_rows_stale_and_cost_nothing(
    tmp_path: Path, warehouse: Warehouse, counted: list[str]
) -> None:
    source = create(warehouse, 3)
    warehouse.query("INSERT INTO `$.tickets` (id, text) VALUES ('unsure', 'billing sales')")
    enrich(warehouse, tmp_path, source)
    del counted[:]
    rules = {"min_confidence": 0.9, "fallback_label": "other"}
    for current in (3, 4):
        summary = enrich(warehouse, tmp_path, source, **rules)
        assert (counted, summary.current) == ([], current)
    assert [row["label"] for row in warehouse.rows("results")][-1] == "other"


def test_one_row_for_each_key(tmp_path: Path, warehouse: Warehouse) -> None:
    """Keys of several columns; of rows that share one, one is kept."""
    warehouse.create("tickets", string("shop"), column("ticket", "INT64"), string("text"))
    rows = {"shop": ["a", "a", "b", "a"], "ticket": [1, 2, 1, 1], "text": ["sales", "sales", "billing", "technical"]}
    warehouse.fill("tickets", pa.table(rows))
    output = {"write": "merge", "key": ["shop", "ticket"]}
    job = warehouse.job(tmp_path, {"table": warehouse.name("tickets")}, output, only="stale", cache="none")
    for _ in range(2):
        warehouse.run(tmp_path, job)
        found = {(row["shop"], row["ticket"]) for row in warehouse.rows("results")}
        assert (len(warehouse.rows("results")), found) == (3, {("a", 1), ("a", 2), ("b", 1)})


def test_a_row_without_its_key_is_refused(tmp_path: Path, warehouse: Warehouse) -> None:
    warehouse.create("tickets", string("shop"), string("text"))
    warehouse.fill("tickets", pa.table({"shop": ["a", None], "text": ["sales", "sales"]}))
    output = {"write": "merge", "key": "shop"}
    warehouse.run(tmp_path, warehouse.job(tmp_path, {"table": warehouse.name("tickets")}, output))
    assert [row["shop"] for row in warehouse.rows("results")] == ["a"]
    assert [row["message"] for row in warehouse.rows("results_failures")] == ["column shop: the key has no value"]


def test_a_run_is_bounded_and_the_next_one_goes_on(tmp_path: Path, warehouse: Warehouse, counted: list[str]) -> None:
    source = create(warehouse, 100)
    found = [enrich(warehouse, tmp_path, source, max_rows=40) for _ in range(4)]
    figures = [(run.results, run.postponed, run.current) for run in found]
    assert figures == [(40, 60, 0), (40, 20, 40), (20, 0, 80), (0, 0, 100)]
    assert len(counted) == len(set(counted)) == 100
    assert len(warehouse.rows("results")) == 100


def test_tokens_bound_a_run(tmp_path: Path, warehouse: Warehouse, counted: list[str]) -> None:
    """Nobody knows before how many a record has: some hundred records are taken at once."""
    source = create(warehouse, CHUNK_ROWS + 100)
    found = [enrich(warehouse, tmp_path, source, max_tokens=3_000) for _ in range(4)]
    assert [run.results for run in found] == [1_536, 1_536, CHUNK_ROWS + 100 - 2 * 1_536, 0]
    assert all(run.tokens == 2 * run.results < 3_000 + 2 * ROWS_TOGETHER for run in found)
    assert len(counted) == len(set(counted)) == CHUNK_ROWS + 100


def test_records_that_always_fail_are_not_in_the_way(tmp_path: Path, warehouse: Warehouse) -> None:
    """As many as a run may take fail in the model, as many are refused by the table; they come first each time."""
    warehouse.create("results", string("state", max_length=3))
    warehouse.create("tickets", string("id"), string("text"), string("state"))
    texts = [POISON] * 3 + ["sales"] * 7
    states = ["new"] * 3 + ["too long"] * 3 + ["new"] * 4
    rows = {"id": [str(number) for number in range(10)], "text": texts, "state": states}
    warehouse.fill("tickets", pa.table(rows))
    source = {"table": warehouse.name("tickets")}
    found = [enrich(warehouse, tmp_path, source, max_rows=3, labels=LABELS) for _ in range(3)]
    assert [(run.results, run.postponed) for run in found] == [(3, 1), (1, 0), (0, 0)]
    assert all(run.failures == {"model_failed": 3, "row_refused": 3} for run in found)
    assert [row["id"] for row in warehouse.rows("results")] == ["6", "7", "8", "9"]


def test_a_watermark_reads_what_is_new(tmp_path: Path, warehouse: Warehouse, counted: list[str]) -> None:
    source = {**create(warehouse, 50), "watermark": "changed"}
    assert enrich(warehouse, tmp_path, source, only="all").records == 50
    del counted[:]
    # The newest rows are read again: others may have come with the same watermark.
    assert enrich(warehouse, tmp_path, source, only="all").records == 1
    del counted[:]
    add(warehouse, range(50, 60), days=1)
    summary = enrich(warehouse, tmp_path, source, only="stale", max_rows=4)
    assert (summary.results, summary.postponed, summary.current) == (4, 6, 1)
    # What was left is not forgotten, although its watermark may be older than what is there now.
    summary = enrich(warehouse, tmp_path, source, only="stale")
    assert (summary.results, summary.postponed, summary.current) == (6, 0, 5)
    assert len(counted) == 10
    assert len(warehouse.rows("results")) == 60
    assert enrich(warehouse, tmp_path, source, only="stale").current == 1


def test_a_watermark_is_kept_when_failures_are_written(
    tmp_path: Path, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run dies between the two; the next one reads everything again."""
    source = {**create(warehouse, 5), "watermark": "changed"}

    def full(*_: Any) -> Any:
        raise OSError("no space left")

    failures = {"only": "all", "failures": str(tmp_path / "failures")}
    with monkeypatch.context() as patch:
        patch.setattr(PublishFiles, "process", full)
        with pytest.raises(OSError, match="no space left"):
            enrich(warehouse, tmp_path, source, **failures)
    assert warehouse.client.get_table(warehouse.name("results")).labels == {}
    assert enrich(warehouse, tmp_path, source, **failures).records == 5
    assert enrich(warehouse, tmp_path, source, **failures).records == 1


@pytest.mark.parametrize("name", ["changed", "classified_at"])
def test_an_older_version_does_not_replace_a_newer_one(tmp_path: Path, warehouse: Warehouse, name: str) -> None:
    """As a run leaves it that read the source early, and was late to write; also with a column named like ours."""
    warehouse.create("tickets", string("id"), string("text"), column(name, "INT64"))
    source = {"table": warehouse.name("tickets"), "watermark": name}
    warehouse.query("INSERT INTO `$.tickets` VALUES ('1', 'sales', 5), ('2', 'sales', 5), ('2', 'billing', 6)")
    enrich(warehouse, tmp_path, source, only="all")
    found = "input_classified_at" if name == "classified_at" else name
    for later, expected in ((7, "sales"), (1, "technical")):
        warehouse.query(f"UPDATE `$.results` SET `{found}` = {later} WHERE id = '1'")
        warehouse.query("UPDATE `$.tickets` SET text = 'technical' WHERE id = '1'")
        warehouse.query(f"UPDATE `$.tickets` SET `{name}` = 6 WHERE id = '1'")
        enrich(warehouse, tmp_path, source, only="all")
        assert [row["label"] for row in warehouse.rows("results")] == [expected, "billing"]


@pytest.mark.parametrize("kind", ["DATE", "DATETIME", "INT64"])
def test_watermarks_of_all_types(tmp_path: Path, warehouse: Warehouse, kind: str) -> None:
    warehouse.create("tickets", string("id"), string("text"), column("changed", kind))
    casts = {"DATE": "DATE '2026-01-0{}'", "DATETIME": "DATETIME '2026-01-0{} 01:02:03.5'", "INT64": "{}"}
    source = {"table": warehouse.name("tickets"), "watermark": "changed"}
    for number, expected in ((1, 1), (2, 2), (3, 2)):
        warehouse.query(f"INSERT INTO `$.tickets` VALUES ('{number}', 'sales', {casts[kind].format(number)})")
        assert enrich(warehouse, tmp_path, source, only="all").records == expected


def test_killed_and_run_again(tmp_path: Path, warehouse: Warehouse, server: Any) -> None:
    """SIGKILL at three moments: the table is that of an undisturbed run, and little is read twice."""
    count = 6 * CHUNK_ROWS
    source = create(warehouse, count)
    environment = {**os.environ, **server.variables, "CLASSER_CACHE_DIR": str(tmp_path / "cache")}
    spent = 0
    for moment, calls in enumerate((1, 3, 2)):
        log = tmp_path / f"read-{moment}"
        process = start(warehouse, tmp_path, source, "results", log, environment)
        wait_for(log, calls, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert warehouse.client.get_table(warehouse.name("results")).num_rows == 0
        spent += sum(map(int, log.read_text().split()))
    final = tmp_path / "read-final"
    assert start(warehouse, tmp_path, source, "results", final, environment).wait() == 0
    spent += sum(map(int, final.read_text().split())) if final.exists() else 0
    undisturbed = tmp_path / "read-undisturbed"
    fresh = environment | {"CLASSER_CACHE_DIR": str(tmp_path / "other")}
    assert start(warehouse, tmp_path, source, "undisturbed", undisturbed, fresh).wait() == 0
    assert warehouse.lasting("results") == warehouse.lasting("undisturbed")
    assert len(warehouse.rows("results")) == count
    needed = sum(map(int, undisturbed.read_text().split()))
    assert needed == count
    assert spent <= needed + 3 * CHUNK_ROWS


def start(warehouse: Warehouse, folder: Path, source: Any, table: str, log: Path, environment: Any) -> Any:
    """The job in a process of its own, which notes how many texts each call of the model has read."""
    output = {**MERGE, "table": warehouse.name(table)}
    document = {"source": {"format": "bigquery", **source}, "output": {"format": "bigquery", **output}}
    document |= {"labels": LABELS, "only": "stale"}
    command = [sys.executable, "-m", "tests.pipelines.bigquery.killed", str(folder), json.dumps(document), str(log)]
    return subprocess.Popen(command, env=environment)


def wait_for(log: Path, lines: int, process: Any) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it was killed"
        if log.exists() and log.read_text().count("\n") >= lines:
            return
        time.sleep(0.05)
    raise AssertionError("nothing was read")


def test_scores_are_added_to_a_table_that_is_there(tmp_path: Path, warehouse: Warehouse, counted: list[str]) -> None:
    """Rows without scores are not current any more; those with as many as are asked for are."""
    source = create(warehouse, 30)
    enrich(warehouse, tmp_path, source)
    del counted[:]
    asked = enrich(warehouse, tmp_path, source, scores=2)
    assert (asked.results, asked.current, len(counted)) == (30, 0, 30)
    rows = warehouse.rows("results")
    assert len(rows) == 30
    assert all(row["scores"][0]["label"] == row["label"] and len(row["scores"]) == 2 for row in rows)
    again = enrich(warehouse, tmp_path, source, scores=2)
    assert (again.results, again.current, len(counted)) == (0, 30, 30)


def test_a_budget_in_money_goes_on_next_time(tmp_path: Path, warehouse: Warehouse, counted: list[str]) -> None:
    source = create(warehouse, 1_200)
    prices = {"tokens": 1_000_000}  # a token costs one
    found = [enrich(warehouse, tmp_path, source, max_cost=1_000, prices=prices) for _ in range(4)]
    assert sum(summary.results for summary in found) == 1_200 == len(counted)
    assert found[0].postponed > 0 and found[0].tokens >= 1_000 and found[3].results == 0
