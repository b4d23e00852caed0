"""`adapt: true` on the real model: a first look makes a version, rows name it, later runs keep it."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from classer_core.errors import JobError
from pipelines.job import load_job, parse_job
from tests.classer_core.test_learning import corpus
from tests.runners.test_tune import job, run


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / "out").to_pylist()
    return sorted(found, key=lambda row: str(row["id"]))


def test_rows_name_the_version_that_the_first_look_made(tmp_path: Path) -> None:
    path = str(job(tmp_path, adapt=True))
    code, shown = run("run", path)
    assert code == 0, shown
    first = rows(tmp_path)
    [version] = {row["classifier"] for row in first}
    name = version.removesuffix("@v1")
    assert name.startswith("adapted-") and (tmp_path / "classifiers" / f"{version}.yaml").exists()
    kinds = dict(corpus(80))
    assert all(row["label"] == kinds[row["text"]] for row in first)
    # Texts that come later are classified by the same version: equal records keep their answers.
    with (tmp_path / "in.ndjson").open("a") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text, _ in corpus(60, seed=7))
    assert run("run", path)[0] == 0
    again = rows(tmp_path)
    assert len(again) == 140 and {row["classifier"] for row in again} == {version}
    answers = {row["text"]: (row["label"], row["confidence"]) for row in again}
    assert all(answers[row["text"]] == (row["label"], row["confidence"]) for row in first)
    # Other labels, or another source, are looked at anew.
    run("run", path, "--set", "labels=[food, space]")
    [other] = {row["classifier"] for row in rows(tmp_path)}
    assert other.endswith("@v1") and not other.startswith(name)


def test_too_few_texts_are_classified_as_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(job(tmp_path, adapt=True))
    (tmp_path / "in.ndjson").write_text('{"text": "Anna baked bread for dinner"}\n')
    code, shown = run("run", path)
    assert code == 0, shown
    assert [row["classifier"].partition(":")[0] for row in rows(tmp_path)] == ["inline"]
    assert "not adapted, there are 1 texts to tune on" in caplog.text
    assert not (tmp_path / "classifiers").exists()


def test_an_adapted_job_is_evaluated_as_it_runs(tmp_path: Path) -> None:
    path = str(job(tmp_path, adapt=True))
    code, shown = run("evaluate", path, "--gold", str(tmp_path / "gold.csv"), "--json", str(tmp_path / "report.json"))
    assert code == 0, shown
    [used] = json.loads((tmp_path / "report.json").read_text())["rows"]["classifiers"]
    assert used.startswith("adapted-") and used.endswith("@v1")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mode": "multi"}, "needs two or more labels, of which exactly one is right"),
        ({"labels": ["food"]}, "needs two or more labels"),
        (
            {"labels": None, "source": {"format": "ndjson", "path": "in.ndjson", "columns": {"labels": "kinds"}}},
            "needs labels of the job's own, and its records bring them",
        ),
        (
            {"source": {"format": "kafka", "bootstrap_servers": "localhost:1", "topic": "in", "group": "g"}},
            "needs a source that ends",
        ),
    ],
)
def test_jobs_that_have_nothing_to_adapt(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(JobError, match=message):
        load_job(job(tmp_path, adapt=True, **more))


def test_a_tuned_classifier_is_not_adapted_again(tmp_path: Path) -> None:
    path = job(tmp_path)
    assert run("tune", str(path), "--save", "kinds")[0] == 0
    with pytest.raises(JobError, match="is not for kinds@v1, which has been tuned"):
        load_job(path, ["labels=null", "classifier=kinds", "adapt=true"])
    assert parse_job({**_document(path), "adapt": True}, path).adapt


def _document(path: Path) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found
