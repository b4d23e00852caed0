"""`classer plan`: what a run will do, against what it then did."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from classer_core import JobError
from pipelines.job import Job, parse_job
from runners.cli import app
from runners.local import run_job
from runners.planning import Estimate, Plan, plan_job, total
from tests.fakes import CountingModel, load_counting

LABELS = ["billing", "technical", "sales"]


def job(folder: Path, **more: Any) -> Job:
    source = {"format": "ndjson", "path": "*.ndjson"}
    document = {"source": source, "labels": LABELS, "output": {"path": "out"}, "cache": "sqlite:///answers", **more}
    return parse_job(document, folder / "job.yaml")


def write(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def rows(count: int, distinct: int) -> list[dict[str, Any]]:
    words = random.Random(7)
    texts = [" ".join(["billing"] * words.randrange(1, 40)) + f" {n}" for n in range(distinct)]
    return [{"id": str(n), "text": texts[n % distinct]} for n in range(count)]


def plan(folder: Path, asked: Job, **more: Any) -> Plan:
    return plan_job(asked, str(folder), load=load_counting, **more)


def test_the_run_does_what_was_planned(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", [*rows(900, 400), {"id": "bad", "text": ""}, {"id": "none"}])
    asked = job(tmp_path, prices={"tokens": 2.5, "currency": "EUR"})
    planned = plan(tmp_path, asked, sample=100, workers=4)
    assert (planned.records, planned.failures) == (902, {"text_empty": 1, "text_missing": 1})
    assert (planned.distinct, planned.from_cache, planned.to_read, planned.sampled) == (400, 0, 400, 100)
    assert planned.seconds_on_workers < planned.seconds
    del CountingModel.texts[:]
    summary = run_job(asked, tmp_path, load=load_counting)
    assert summary is not None
    assert len(CountingModel.texts) == planned.to_read == summary.results - summary.cached
    # The number of words is a linear function of the length but for the digits of a number.
    assert abs(summary.tokens - planned.tokens.value) <= planned.tokens.error < 0.02 * summary.tokens
    assert planned.cost is not None and planned.currency == "EUR"
    assert planned.cost.value == pytest.approx(planned.tokens.value * 2.5e-6)
    again = plan(tmp_path, asked)
    assert (again.from_cache, again.to_read, again.tokens) == (400, 0, Estimate(0))


def test_the_last_output_and_records_without_cache_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", [row | {"cache": True} for row in rows(50, 20)])
    asked = job(tmp_path, only="stale", cache="none", record_fields=["cache"])
    run_job(asked, tmp_path, load=load_counting)
    write(tmp_path / "b.ndjson", [{"id": "new", "text": "sales"}, {"id": "again", "text": "billing", "cache": False}])
    planned = plan(tmp_path, asked)
    assert (planned.distinct, planned.from_last_output, planned.to_read) == (22, 20, 2)
    assert planned.tokens == Estimate(2), "all are in the sample: counted"


def test_the_interval_of_a_total_holds_the_truth() -> None:
    """95% intervals, of values that depend on the size and on chance; 300 draws."""
    random_ = random.Random(1)
    sizes = [int(random_.lognormvariate(4, 1.2)) + 1 for _ in range(3_000)]
    values = [4 + size // 4 + random_.randrange(1 + size // 10) for size in sizes]
    held, widths = 0, []
    for _ in range(300):
        kept = random_.sample(range(3_000), 200)
        found = total([values[n] for n in kept], [sizes[n] for n in kept], 3_000, sum(sizes))
        held += abs(found.value - sum(values)) <= found.error
        widths.append(found.error / sum(values))
    assert held / 300 > 0.88
    assert sum(widths) / 300 < 0.03


def test_a_budget_in_money_is_one_in_tokens(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", rows(3, 3))
    table = {"format": "bigquery", "table": "p.d.t", "write": "merge", "key": "id"}
    merged = {"output": table, "failures": "failed", "only": "stale"}
    budget = job(tmp_path, **merged, max_cost=0.5, prices={"tokens": 2}).token_budget
    assert budget == 250_000
    assert job(tmp_path, **merged, max_cost=0.5, max_tokens=9, prices={"tokens": 2}).token_budget == 9
    with pytest.raises(JobError, match="needs prices"):
        job(tmp_path, **merged, max_cost=0.5)
    with pytest.raises(JobError, match="needs a table to go on from"):
        job(tmp_path, max_cost=0.5, prices={"tokens": 2})


def test_it_is_a_table_or_json(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", [{"id": "1", "text": "we fried onions"}, {"id": "2", "text": "we fried onions"}])
    document = {"source": {"format": "ndjson", "path": "a.ndjson"}, "labels": LABELS, "output": {"path": "out"}}
    (tmp_path / "job.yaml").write_text(json.dumps({**document, "cache": "none"}))
    args = ["plan", str(tmp_path / "job.yaml"), "--set", "prices.tokens=3", "--workers", "5"]
    shown = CliRunner().invoke(app, args)
    assert shown.exit_code == 0, shown.output
    for part in ("distinct contents", "to be read", "time on 5 such workers", "0.00 USD", "classer run"):
        assert part in shown.output
    found = json.loads(CliRunner().invoke(app, [*args, "--json"]).output)
    assert (found["records"], found["distinct"], found["to_read"], found["workers"]) == (2, 1, 1, 5)
    assert found["tokens"]["value"] > 3 and found["tokens"]["error"] == 0
    assert not (tmp_path / "out").exists()


def test_a_stream_has_no_end_to_plan_for(tmp_path: Path) -> None:
    source = {"format": "kafka", "bootstrap_servers": "localhost:1", "topic": "t", "group": "g"}
    with pytest.raises(JobError, match="is a stream, which has no end"):
        plan(tmp_path, job(tmp_path, source=source))


@pytest.mark.integration
@pytest.mark.skipif("CLASSER_CORPUS" not in os.environ, reason="CLASSER_CORPUS names no folder")
@pytest.mark.parametrize("name", ["trec", "sms_spam", "moderation_multilabel"])
def test_corpora_take_what_was_planned(tmp_path: Path, name: str) -> None:
    corpus = Path(os.environ["CLASSER_CORPUS"]) / "text" / name
    lines = (corpus / "test.jsonl").read_text().splitlines()
    rows = [{"id": str(n), "text": json.loads(line)["text"]} for n, line in enumerate([*lines, *lines[:100]])]
    write(tmp_path / "a.ndjson", rows)
    labels = list(json.loads((corpus / "labels.json").read_text())["labels"])
    asked = job(tmp_path, labels=labels)
    planned = plan_job(asked, str(tmp_path))
    summary = run_job(asked, tmp_path)
    assert summary is not None
    print(name, planned, summary, sep="\n")
    assert planned.distinct == planned.to_read == summary.results - summary.cached
    assert abs(summary.tokens - planned.tokens.value) <= planned.tokens.error
    assert planned.seconds / 2 <= summary.seconds <= planned.seconds * 2
