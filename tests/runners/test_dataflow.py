"""The complete graph of a job as Dataflow would get it, built without an account; and a template's launch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from classer_core.source_file import open_reading
from classer_core.storage import write_whole
from tests.servers.object_stores import reachable
from tests.servers.storage import GcsEmulator

ROOT = Path(__file__).parents[2]
IMAGE = "europe-docker.pkg.dev/project/classer/worker:1"


def dry_run(*args: str) -> list[str]:
    command = [sys.executable, "-m", "runners.cli", "run", "--dry-run", *args]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.integration
def test_dataflow_gets_the_whole_job_and_our_image(tmp_path: Path) -> None:
    """Files elsewhere are not looked at: the job names its columns."""
    job = tmp_path / "job.yaml"
    job.write_text("source: {format: ndjson, path: gs://b/x.ndjson}\nlabels: [a, b]\noutput: {path: gs://b/rows}\n")
    lines = dry_run(str(job), "--runner", "dataflow", "--", f"--sdk_container_image={IMAGE}")
    assert lines[-1] == f"worker image: {IMAGE}"
    steps = {line.split("/")[0] for line in lines[:-1]}
    assert steps == {"Records", "ClassifyRecords", "WriteResults", "WriteFailures", "JudgeRun", "PublishRows"}
    of_records = {"/".join(line.split("/")[:2]) for line in lines if line.startswith("Records")}
    assert of_records == {"Records/ReadRecords", "Records/Spread", "Records/FetchContents"}
    assert [line for line in lines if "BeamML_RunInference" in line]
    assert "PublishRows/Files" in lines


def test_a_dry_run_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"text": "hello"}\n')
    job = tmp_path / "job.yaml"
    job.write_text("source: {format: ndjson, path: a.ndjson}\nlabels: [a, b]\noutput: {path: out}\n")
    steps = dry_run(str(job))
    assert "PublishRows/Files" in steps
    assert not [step for step in steps if step.startswith("Records/Spread")]  # on one machine a copy gains nothing
    assert not (tmp_path / "out").exists()


@pytest.mark.integration
def test_a_template_launch_ends_when_the_job_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the launcher of a flex template asks: the job begins when its file is there, and has no counters yet."""
    with GcsEmulator() as server, reachable(server, monkeypatch):
        write_whole(f"{server.bucket}/a.ndjson", b'{"id": "1", "text": "x"}\n')
        source, output = f"{{format: ndjson, path: {server.bucket}/*.ndjson}}", f"{{path: {server.bucket}/out}}"
        job = f"source: {source}\nlabels: [a, b]\noutput: {output}\n"
        write_whole(f"{server.bucket}/job.yaml", job.encode())
        written = f"{server.bucket}/staging/template_launches/job_object"
        given = {
            "job": f"{server.bucket}/job.yaml",
            "project": "project",
            "region": "us-central1",
            "temp_location": f"{server.bucket}/temp",
            "staging_location": f"{server.bucket}/staging",
            "template_location": written,
            "labels": "team=support",
            "summary": str(tmp_path / "run.json"),
        }
        command = [sys.executable, "-m", "runners.dataflow.template", *(f"--{key}={given[key]}" for key in given)]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        with open_reading(written) as file:
            message = json.load(file)
        with pytest.raises(FileNotFoundError):
            open_reading(f"{server.bucket}/out/_running")
    assert message["labels"] == {"team": "support"}
    assert message["environment"]["sdkPipelineOptions"]["options"]["region"] == "us-central1"
    assert json.loads((tmp_path / "run.json").read_text())["exit_code"] == 0
