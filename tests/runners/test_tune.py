"""`classer tune` on the real model: what it learns is saved, used, and refused when it is worse."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from typer.testing import CliRunner

from runners.cli import app
from tests import documents as make
from tests.classer_core.test_learning import corpus

LABELS = ["food", "space", "sport"]


def job(folder: Path, **more: Any) -> Path:
    """A job over texts whose kinds are known, and its gold rows."""
    rows = corpus(80)
    (folder / "in.ndjson").write_text("".join(json.dumps({"text": text}) + "\n" for text, _ in rows))
    with (folder / "gold.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *corpus(40, seed=1)])
    document: dict[str, Any] = {
        "source": {"format": "ndjson", "path": "in.ndjson"},
        "labels": LABELS,
        "output": {"path": "out"},
        "cache": "none",
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document | more))
    return path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_what_was_learned_is_a_version_that_jobs_use(tmp_path: Path) -> None:
    path = str(job(tmp_path))
    code, shown = run("tune", path, "--save", "kinds", "--gold", str(tmp_path / "gold.csv"))
    assert code == 0, shown
    assert "saved kinds@v1" in shown and "labelled rows" in shown
    # Learning is without chance: the same texts teach the same, and that is the same version.
    assert "saved kinds@v1" in run("tune", path, "--save", "kinds", "--gold", str(tmp_path / "gold.csv"))[1]
    code, shown = run("run", path, "--set", "labels=null", "--set", "classifier=kinds")
    assert code == 0, shown
    rows = pq.read_table(tmp_path / "out").to_pylist()
    kinds = dict(corpus(80))
    assert {row["classifier"] for row in rows} == {"kinds@v1"}
    assert all(row["label"] == kinds[row["text"]] for row in rows)


def test_gold_that_is_right_by_chance_teaches_nothing(tmp_path: Path) -> None:
    path = job(tmp_path)
    rng = random.Random(0)
    with (tmp_path / "wrong.csv").open("w", newline="") as file:
        rows = [(text, rng.choice([kind for kind in LABELS if kind != right])) for text, right in corpus(60, seed=2)]
        csv.writer(file).writerows([("text", "label"), *rows])
    code, shown = run("tune", str(path), "--save", "kinds", "--gold", str(tmp_path / "wrong.csv"))
    assert code == 4, shown
    assert "not saved: " in shown
    assert not (tmp_path / "classifiers").exists()


def test_documents_teach_too(tmp_path: Path) -> None:
    for number, (text, _) in enumerate(corpus(60)):
        (tmp_path / f"{number}.pdf").write_bytes(make.pdf(text))
    path = str(job(tmp_path, source={"format": "documents", "path": "*.pdf"}))
    code, shown = run("tune", path, "--save", "kinds")
    assert code == 0, shown
    assert "saved kinds@v1" in shown


def test_too_little_to_learn_from_is_said(tmp_path: Path) -> None:
    path = job(tmp_path)
    (tmp_path / "in.ndjson").write_text('{"text": "one text"}\n')
    code, shown = run("tune", str(path), "--save", "kinds")
    assert (code, "there are 1 texts to tune on: give at least 50" in shown) == (2, True)
