"""`guarantee:` on real models: what is proven is a version that rows name, and only that much is trusted."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from runners.cli import app
from tests import tiny_models as tiny
from tests.classer_core.models.test_cross_encoders import make_finetuned

ROWS = tiny.texts(300, seed=4)
GOAL = {"precision": 0.7, "confidence": 0.8, "budget": 150}


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"finetuned:{make_finetuned(tmp_path_factory.mktemp('second'), list(tiny.TOPICS))}"


def job(folder: Path, second: str, **guarantee: float) -> str:
    (folder / "in.ndjson").write_text("".join(json.dumps({"text": text}) + "\n" for text, _ in ROWS))
    with (folder / "gold.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *ROWS])
    document: dict[str, Any] = {
        "source": {"format": "ndjson", "path": "in.ndjson"},
        "labels": list(tiny.TOPICS),
        "output": {"path": "out"},
        "model": {"first": "embedded", "then": second, "guarantee": GOAL | guarantee},
        "cache": "none",
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    return result.exit_code, result.output


@pytest.mark.integration  # whole runs, each with two models
def test_a_run_proves_and_trusts_what_is_proven(tmp_path: Path, second: str) -> None:
    path = job(tmp_path, second)
    code, shown = run("run", path)
    assert code == 0, shown
    rows = pq.read_table(tmp_path / "out").to_pylist()
    [name] = {row["classifier"] for row in rows}
    assert name.startswith("certified-") and name.endswith("@v1")
    limits = yaml.safe_load((tmp_path / "classifiers" / f"{name}.yaml").read_text())["limits"]
    assert limits["oracle"].startswith("finetuned:") and limits["rows"] <= 150
    right = dict(ROWS)
    trusted = [row for row in rows if row["model"].startswith("embedded@")]
    assert len(trusted) == round(limits["answered"] * len(rows)) > 0
    assert all(row["confidence"] >= limits["from_certainty"][row["label"]] - 1e-4 for row in trusted)
    assert sum(row["label"] == right[row["text"]] for row in trusted) >= 0.7 * len(trusted)
    code, shown = run("run", path)
    assert code == 0 and {row["classifier"] for row in pq.read_table(tmp_path / "out").to_pylist()} == {name}


@pytest.mark.integration
def test_gold_rows_prove_a_version_that_jobs_use(tmp_path: Path, second: str) -> None:
    path = job(tmp_path, second)
    code, shown = run("certify", path, "--save", "topics", "--gold", str(tmp_path / "gold.csv"))
    assert code == 0, shown
    assert "at least 70% of them right with a probability of 80%" in shown and "saved topics@v1" in shown
    code, shown = run("run", path, "--set", "labels=null", "--set", "classifier=topics")
    assert code == 0, shown
    rows = pq.read_table(tmp_path / "out").to_pylist()
    assert {row["classifier"] for row in rows} == {"topics@v1"}
    assert {row["model"].split("@")[0].split(":")[0] for row in rows} == {"embedded", "finetuned"}
    # It was proven of this first model.
    swapped = ["--set", f"model.first={second}", "--set", "model.then=embedded"]
    code, shown = run("run", path, "--set", "labels=null", "--set", "classifier=topics", *swapped)
    failures = pq.read_table(tmp_path / "out-failures").to_pylist()
    assert len(failures) == len(ROWS) and {row["code"] for row in failures} == {"classifier_invalid"}
    assert all("topics@v1 was certified for model embedded@" in row["message"] for row in failures)


def test_what_can_not_be_proven_is_not_saved(tmp_path: Path, second: str) -> None:
    path = job(tmp_path, second, precision=0.99, confidence=0.99)
    code, shown = run("certify", path, "--save", "topics")
    assert code == 4, shown
    assert "none is trusted" in shown and "not saved" in shown
    assert not (tmp_path / "classifiers").exists()


def test_jobs_without_a_goal(tmp_path: Path, second: str) -> None:
    path = job(tmp_path, second)
    code, shown = run("certify", path, "--save", "topics", "--set", "model=embedded")
    assert code == 2 and "asks for no guarantee" in shown
    code, shown = run("run", path, "--set", "mode=multi")
    assert code == 2 and "exactly one is right" in shown
