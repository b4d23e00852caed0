"""The complete graph of a job as Dataflow would get it, built without an account."""

import subprocess
import sys
from pathlib import Path

import pytest

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
    assert steps == {"Records", "ClassifyRecords", "Outcomes", "WriteResults", "WriteFailures"}
    assert {"Records/ReadRecords", "Records/FetchContents"} <= {"/".join(line.split("/")[:2]) for line in lines}
    assert [line for line in lines if "BeamML_RunInference" in line]
    assert {"WriteResults/Publish", "WriteFailures/Publish"} <= set(lines)


def test_a_dry_run_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"text": "hello"}\n')
    job = tmp_path / "job.yaml"
    job.write_text("source: {format: ndjson, path: a.ndjson}\nlabels: [a, b]\noutput: {path: out}\n")
    assert "WriteResults/Publish" in dry_run(str(job))
    assert not (tmp_path / "out").exists()
