"""`alarm:`: exit code 7 and one line, when a run is not as it should be; and on real texts that drift."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from classer_core.errors import AlarmError, JobError
from pipelines.job import Job, load_job, parse_job
from runners.alarm import Watch
from runners.cli import app
from runners.local import run_job
from runners.summary import RunSummary
from tests.classer_core.reports.test_shift import OTHER, texts
from tests.fakes import load

LABELS = ["invoice", "login", "price"]


def job(folder: Path, rows: list[str], alarm: dict[str, Any] | None = None, out: str = "out", **more: Any) -> Job:
    lines = [json.dumps({"id": str(n), "text": text}) for n, text in enumerate(rows)]
    (folder / "rows.ndjson").write_text("\n".join(lines))
    source = {"format": "ndjson", "path": "rows.ndjson"}
    document = {"source": source, "labels": LABELS, "output": {"path": out}, "cache": "none", "alarm": alarm, **more}
    return parse_job({key: value for key, value in document.items() if value is not None}, folder / "job.yaml")


def watched(asked: Job, folder: Path, load: Any = load) -> str:
    """What the alarm says of a run; empty without one."""
    watch = Watch.of(asked)
    summary = run_job(asked, folder, load=load)
    assert watch is not None and summary is not None
    try:
        watch.check(asked, summary)
    except AlarmError as error:
        return str(error)
    return ""


def test_the_summary_estimates_the_accuracy(tmp_path: Path) -> None:
    summary = run_job(job(tmp_path, ["invoice", "nothing of them", "invoice login", "price"]), tmp_path, load=load)
    assert isinstance(summary, RunSummary)
    # The fake model is certain of a label that the text names, and undecided between none, or two.
    assert summary.estimated_accuracy == pytest.approx((1 + 1 / 3 + 1 / 2 + 1) / 4, abs=1e-3)
    assert summary.unsure == 1
    one = run_job(job(tmp_path, ["invoice", "none"], labels=["invoice"]), tmp_path, load=load)
    assert one is not None and one.estimated_accuracy == pytest.approx(0.9966, abs=1e-3) and one.unsure == 0
    several = run_job(job(tmp_path, ["invoice login", "none"], mode="multi"), tmp_path, load=load)
    assert several is not None and several.unsure == 1 and several.estimated_accuracy == pytest.approx(1, abs=1e-3)


def test_limits_are_kept_to(tmp_path: Path) -> None:
    rows = ["invoice"] * 6 + ["nothing of them"] * 4
    assert watched(job(tmp_path, rows, {"min_accuracy": 0.7, "max_unsure": 0.4}), tmp_path) == ""
    said = watched(job(tmp_path, rows, {"min_accuracy": 0.9, "max_unsure": 0.1}), tmp_path)
    assert "estimated accuracy 73.3% is below 90.0%" in said
    assert "40.0% of rows fit no label, more than 10.0%" in said


def test_the_last_run_is_a_reference(tmp_path: Path) -> None:
    alarm = {"reference": "out"}
    assert watched(job(tmp_path, texts(0), alarm), tmp_path) == "", "there is none before the first run"
    assert watched(job(tmp_path, texts(1), alarm), tmp_path) == ""
    said = watched(job(tmp_path, texts(2, 480) + texts(3, 120, OTHER), alarm), tmp_path)
    assert "texts have shifted" in said and "unlike anything before" in said
    assert "\n" not in said


def test_shares_and_failures_are_compared(tmp_path: Path) -> None:
    rows = [*["invoice"] * 400, *["login"] * 400]
    assert watched(job(tmp_path, rows, {"reference": "out"}), tmp_path) == ""
    said = watched(job(tmp_path, [*rows[:640], *[""] * 120], {"reference": "out"}), tmp_path)
    assert "'login' has 37.5% of rows, 50.0% before" in said and "failed is 15.8%, 0.0% before" in said


def test_a_reference_without_rows_is_a_wrong_job(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="has no rows to compare with"):
        Watch.of(job(tmp_path, ["invoice"], {"reference": "nowhere"}))
    with pytest.raises(JobError, match=r"alarm\.reference.*needs an output of files"):
        table = {"format": "bigquery", "table": "p.d.t"}
        job(tmp_path, ["invoice"], {"reference": "x"}, output=table, failures="failed")


def test_the_command_ends_with_7_and_one_line(tmp_path: Path) -> None:
    job(tmp_path, ["we fried onions", "my invoice is wrong"])
    source = {"format": "ndjson", "path": "rows.ndjson"}
    document = {"source": source, "labels": ["cooking", "billing"], "output": {"path": "out"}, "cache": "none"}
    (tmp_path / "job.yaml").write_text(json.dumps({**document, "alarm": {"min_accuracy": 0.999}}))
    done = CliRunner().invoke(app, ["run", str(tmp_path / "job.yaml"), "--summary", str(tmp_path / "run.json")])
    assert done.exit_code == 7, done.output
    [line] = [line for line in done.output.splitlines() if line.startswith("alarm: estimated accuracy")]
    told = json.loads((tmp_path / "run.json").read_text())
    assert (told["exit_code"], told["published"], told["results"]) == (7, True, 2)
    assert told["problems"][0]["message"] == line and 0.5 < told["estimated_accuracy"] < 0.999
    assert load_job(tmp_path / "job.yaml").alarm is not None


def corpus_texts(name: str, split: str = "test") -> list[str]:
    file = Path(os.environ["CLASSER_CORPUS"]) / "text" / name / f"{split}.jsonl"
    return [json.loads(line)["text"] for line in file.read_text().splitlines()]


def changed_mix(rows: list[str], draw: random.Random) -> list[str]:
    """Three of four questions about cards are gone."""
    return [text for text in rows if "card" not in text or draw.random() < 0.25]


def with_others(name: str) -> Callable[[list[str], random.Random], list[str]]:
    def drift(rows: list[str], draw: random.Random) -> list[str]:
        return rows[: len(rows) * 4 // 5] + draw.sample(corpus_texts(name), len(rows) // 5)

    return drift


def broken(rows: list[str], draw: random.Random) -> list[str]:
    """A fifth was decoded as what it was not."""
    return [text.encode("utf-16-le").decode("utf-16-be", "replace") if draw.random() < 0.2 else text for text in rows]


def emptied(rows: list[str], draw: random.Random) -> list[str]:
    return ["" if draw.random() < 0.1 else text for text in rows]


DRIFTS = {
    "topic": with_others("sms_spam"),
    "language": with_others("thucnews_zh"),
    "mix": changed_mix,
    "encoding": broken,
    "empty": emptied,
}


@pytest.mark.integration
@pytest.mark.skipif("CLASSER_CORPUS" not in os.environ, reason="CLASSER_CORPUS names no folder")
def test_drift_of_real_texts_is_found_within_one_run(tmp_path: Path) -> None:
    """Five kinds of drift, and 50 runs of 700 rows without any, of which two may alarm; the embedded model."""
    pool, draw = corpus_texts("banking77"), random.Random(11)
    labels = ["card", "transfer", "top up", "exchange rate", "identity check", "refund"]
    # Answers are in a cache: each text is read once, whatever the number of runs.
    more: dict[str, Any] = {"labels": labels, "cache": "sqlite:///answers"}
    run_job(job(tmp_path, draw.sample(pool, 700), out="reference", **more), tmp_path)

    def said_of(rows: list[str]) -> str:
        return watched(job(tmp_path, rows, {"reference": "reference"}, **more), tmp_path, None)

    false = [said for said in (said_of(draw.sample(pool, 700)) for _ in range(50)) if said]
    print("false alarms:", false)
    assert len(false) <= 2
    found = {name: said_of(drift(draw.sample(pool, 700), draw)) for name, drift in DRIFTS.items()}
    print(*found.items(), sep="\n")
    assert all(found.values()), found
