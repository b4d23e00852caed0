"""What `--summary` writes, however a run ends."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from classer_core.classifiers import Classifier
from classer_core.errors import JobError, Problem
from classer_core.saved import ClassifierStore
from pipelines.job import load_job
from pipelines.outputs.files import FileOutput
from runners import local
from runners.cli import app
from runners.summary import reported
from tests.fakes import load

KEYS = [
    *("run", "job", "started", "finished", "seconds", "exit_code"),
    *("records", "results", "abstained", "cached", "duplicates", "current", "postponed"),
    *("cache_errors", "unreadable_files", "failures", "tokens", "model_ms", "classifiers"),
    *("estimated_accuracy", "unsure"),
    *("published", "output", "failures_output", "problems"),
]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    ClassifierStore(str(tmp_path / "classifiers")).save("tickets", Classifier.of(["billing", "login"]))
    rows = [
        {"text": "billing", "classifier": "tickets"},
        {"text": "login please", "classifier": "tickets@v1"},
        {"text": "billing", "classifier": "tickets"},
        {"text": "football", "labels": ["football", "chess"]},
        {"text": "", "classifier": "tickets"},
    ]
    (tmp_path / "in.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "job.yaml"
    path.write_text(
        "source: {format: ndjson, path: in.ndjson}\noutput: {path: out}\ncache: none\n"
        "record_fields: [classifier, labels]\n"
    )
    return path


def told(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    assert list(found) == KEYS
    return found


def test_a_good_run_is_counted(job: Path, tmp_path: Path) -> None:
    with reported(str(tmp_path / "run.json"), str(job)) as report:
        report.summary = local.run_job(load_job(job), tmp_path, load=load)
    found = told(tmp_path / "run.json")
    started, finished = datetime.fromisoformat(found["started"]), datetime.fromisoformat(found["finished"])
    assert str(started.tzinfo) == "UTC" and found["seconds"] == pytest.approx(
        (finished - started).total_seconds(), abs=0.002
    )
    assert (tmp_path / "out" / "_SUCCESS").read_text() == found["run"]
    assert found["classifiers"] == {"inline": 1, "tickets@v1": 3}
    assert found["failures"] == {"text_empty": 1}
    assert (found["exit_code"], found["records"], found["results"], found["cached"]) == (0, 5, 4, 1)
    assert (found["output"], found["failures_output"]) == (str(tmp_path / "out"), str(tmp_path / "out-failures"))
    assert found["tokens"] == 4 and found["problems"] == []


def test_too_many_failures_keep_their_counts(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = local.run_job
    monkeypatch.setattr(local, "run_job", lambda *args: given(*args, load=load))
    path = f"memory://{tmp_path.name}/run.json"
    done = CliRunner().invoke(app, ["run", str(job), "--set", "max_failure_ratio=0.1", "--summary", path])
    import fsspec

    found = json.loads(fsspec.open(path).open().read())
    assert (done.exit_code, found["exit_code"], found["records"]) == (3, 3, 5)
    assert "1 of 5 records failed" in found["problems"][0]["message"]


@pytest.mark.parametrize("error", [OSError("redis://:secret@host"), KeyboardInterrupt()])
def test_of_an_error_that_nobody_expected_only_the_kind_is_told(
    job: Path, tmp_path: Path, error: BaseException
) -> None:
    with pytest.raises(type(error)), reported(str(tmp_path / "run.json"), str(job)):
        raise error
    text = (tmp_path / "run.json").read_text()
    assert "secret" not in text
    found = told(tmp_path / "run.json")
    assert (found["exit_code"], found["run"], found["records"]) == (1, None, None)
    assert found["problems"][0]["message"] == type(error).__name__


def test_a_wrong_job_tells_its_problems(job: Path, tmp_path: Path) -> None:
    problem = Problem("output.path", "gs://b/x", "access is denied", "Ask for it.")
    with pytest.raises(typer.Exit), reported(str(tmp_path / "run.json"), str(job)):
        raise typer.Exit(2) from JobError([problem])
    found = told(tmp_path / "run.json")
    assert found["exit_code"] == 2
    assert found["problems"] == [vars(problem)]


def test_a_place_that_cannot_be_written_is_told_before_anything_begins(job: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "run.json", tmp_path):
        done = CliRunner().invoke(app, ["run", str(job), "--summary", str(path)])
        assert done.exit_code == 2
        assert f"--summary = '{path}': has a file where a folder is expected" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_killed_has_no_exit_code(job: Path, tmp_path: Path) -> None:
    """Whatever the file said of the last run."""
    (tmp_path / "run.json").write_text('{"exit_code": 0}')
    with reported(str(tmp_path / "run.json"), str(job)):
        found = told(tmp_path / "run.json")
    assert (found["exit_code"], found["finished"], found["seconds"], found["problems"]) == (None, None, None, [])
    assert told(tmp_path / "run.json")["exit_code"] == 0


def test_an_exit_keeps_its_code(job: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit), reported(str(tmp_path / "run.json"), str(job)):
        raise SystemExit(7)
    assert told(tmp_path / "run.json")["exit_code"] == 7


def test_no_secret_of_a_place_is_told(job: Path, tmp_path: Path) -> None:
    place = f"{tmp_path.name}/out"
    given = load_job(job)
    given = given.model_copy(update={"output": FileOutput(path=f"memory://user:s3cret@{place}")})
    with reported(str(tmp_path / "run.json"), str(job)) as report:
        report.summary = local.run_job(given, tmp_path, load=load)
    found = told(tmp_path / "run.json")
    assert (found["output"], found["failures_output"]) == (f"memory://{place}", f"memory://{place}-failures")
