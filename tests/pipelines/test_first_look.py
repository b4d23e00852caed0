"""Some rows of a source are parsed before a job is run: what would fail is said before anything is paid."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from classer_core.errors import JobError
from pipelines.job import parse_job
from pipelines.sample import FirstLook, first_look
from runners.cli import app
from runners.local import run_job
from tests.fakes import load


def document(folder: Path, rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    (folder / "in.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"format": "ndjson", "path": "in.ndjson"}
    return {"source": source, "labels": ["billing", "sales"], "output": {"path": "out"}, "cache": "none", **more}


def look(folder: Path, rows: list[dict[str, Any]], **more: Any) -> FirstLook:
    job = parse_job(document(folder, rows, **more), folder / "job.yaml")
    return first_look(job.source, job.source.find_columns(job.selection), job.requests, str(folder))


ROWS = [{"text": "billing", "priority": "high" if n % 4 == 0 else "fast"} for n in range(100)]


def test_the_share_that_fails_is_said_with_its_reason(tmp_path: Path) -> None:
    found = look(tmp_path, [*ROWS, {"text": ""}], record_fields=["priority"])
    first, second, third = str(found).splitlines()
    assert first == "26 of 101 sampled rows (25.7%) would fail:"
    assert second == "  priority_invalid 25: in.ndjson@0: priority must be standard or fast, got 'high'"
    assert third.startswith("  text_empty 1: in.ndjson@")
    assert look(tmp_path, ROWS).failures == []


def test_a_job_that_does_not_fit_its_source_ends_before_anything_is_classified(tmp_path: Path) -> None:
    rows = [{"text": " ", "body": "billing"} for _ in range(30)]
    job = parse_job(document(tmp_path, rows), tmp_path / "job.yaml")
    with pytest.raises(JobError, match=r"30 of 30 sampled rows \(100.0%\) would fail"):
        run_job(job, tmp_path, load=load)
    assert not (tmp_path / "out").exists()


def test_a_few_bad_rows_are_failures_as_ever(tmp_path: Path) -> None:
    job = parse_job(document(tmp_path, [{"text": ""}] * 3), tmp_path / "job.yaml")
    summary = run_job(job, tmp_path, load=load)
    assert summary is not None and summary.failures == {"text_empty": 3}


def unwrapped(output: str) -> str:
    """What is said, wherever a terminal breaks its lines."""
    return " ".join(output.split())


def test_check_says_it(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(document(tmp_path, ROWS, record_fields=["priority"])))
    said = CliRunner().invoke(app, ["check", str(file)])
    assert (said.exit_code, "25 of 100 sampled rows (25.0%) would fail" in unwrapped(said.output)) == (0, True)
    said = CliRunner().invoke(app, ["check", str(file), "--set", "record_fields=[]"])
    assert (said.exit_code, ": OK" in unwrapped(said.output)) == (0, True)
    said = CliRunner().invoke(app, ["check", str(file), "--set", "source.columns.text=body"])
    assert said.exit_code == 2 and "'body'" not in said.output and "source.columns.text" in said.output
