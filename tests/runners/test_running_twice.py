"""Two runs of one job: at once, and after a kill."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from classer_core.errors import AnotherRunError
from pipelines.job import load_job
from pipelines.writers.lease import held
from runners.cli import app
from runners.local import run_job
from tests.fakes import load

ROOT = Path(__file__).parents[2]
JOB = "source: {format: ndjson, path: in.ndjson}\nlabels: [a, b]\noutput: {path: out}\ncache: none\n"
ROWS = 30_000
RUN = """
    import sys, time
    from pathlib import Path
    from classer_core import Engine
    from pipelines.job import load_job
    from runners.local import run_job
    from tests.fakes import FakeModel

    job = Path(sys.argv[1])

    class PatientModel(FakeModel):
        def score(self, texts, classifiers):
            while (job.parent / "hold").exists():
                time.sleep(0.02)
            return super().score(texts, classifiers)

    print(run_job(load_job(job), job.parent, load=lambda: Engine(PatientModel())).results)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "in.ndjson").write_text("".join(f'{{"id": {n}, "text": "a {n}"}}\n' for n in range(ROWS)))
    return tmp_path


def start(folder: Path) -> subprocess.Popen[str]:
    """A run in a process of its own, whose model waits as long as there is a file `hold`."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RUN), str(folder / "job.yaml")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_it_writes(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not (folder / "out" / "_running").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)


def all_rows_are_there(folder: Path) -> bool:
    ids = pq.read_table(folder / "out").column("id").to_pylist()
    return len(ids) == len(set(ids)) == ROWS and not list((folder / "out").glob("_running*"))


def test_a_second_run_is_refused_and_the_first_one_is_whole(folder: Path) -> None:
    (folder / "hold").touch()
    first = start(folder)
    wait_until_it_writes(folder, first)
    with pytest.raises(AnotherRunError, match=f"is being written by run .*process {first.pid}"):
        run_job(load_job(folder / "job.yaml"), folder, load=load)
    (folder / "hold").unlink()
    said, errors = first.communicate(timeout=120)
    assert (first.returncode, said) == (0, f"{ROWS}\n"), errors
    assert all_rows_are_there(folder)


@pytest.mark.integration
def test_a_killed_run_is_run_again_at_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "hold").touch()
    killed = start(folder)
    wait_until_it_writes(folder, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (folder / "hold").unlink()
    assert (folder / "out" / "_running").exists()
    summary = run_job(load_job(folder / "job.yaml"), folder, load=load)
    assert summary is not None and summary.results == ROWS
    assert "which has died" in caplog.text
    assert all_rows_are_there(folder)


def test_the_command_says_it_with_an_exit_code_of_its_own(folder: Path) -> None:
    summary = folder / "summaries" / "run.json"
    with held([str(folder / "out-failures")], "theirs"):
        done = CliRunner().invoke(app, ["run", str(folder / "job.yaml"), "--summary", str(summary)])
    assert done.exit_code == 5
    assert "out-failures' is being written by run theirs" in done.stderr
    told = json.loads(summary.read_text())
    assert (told["exit_code"], told["records"], told["output"]) == (5, None, None)
    assert [problem["message"] for problem in told["problems"]] == [done.stderr.strip()]
    assert not (folder / "out" / "_running").exists()
