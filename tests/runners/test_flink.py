"""Jobs on a real Flink: a JobManager and two TaskManagers, each a process; workers that die half-way."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from classer_core import Engine
from classer_core.engine import load_engine
from pipelines.job import Job, parse_job
from runners.flink.cluster import Cluster, free_port
from runners.flink.jars import built_job_server_jar
from runners.local import RunSummary, run_job
from tests import fakes
from tests.runners import slow

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
LABELS = ["billing", "technical", "sales"]
TEXTS = ["the invoice is wrong", "the app crashes at start", "what does a plan for fifty users cost"]
RECORDS = 20_000
HALF_WAY_SECONDS = 120
JOB_SECONDS = 180


@pytest.fixture(scope="module")
def jar() -> str:
    return str(built_job_server_jar())


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # workers find the fake models of the tests
        with Cluster(task_managers=2, slots=2) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for part in range(4):
        with (folder / f"{part}.ndjson").open("w") as file:
            for number in range(part, RECORDS, 4):
                label = LABELS[number % 3]
                record = {"id": f"r{number}", "text": f"{label}: {TEXTS[number % 3]} ({number})", "n": number}
                if number % 1_000 == 7:
                    record["text"] = ""
                file.write(json.dumps(record) + "\n")
    return folder


def job_in(folder: Path, source: Path, files: str = "*.ndjson") -> Job:
    document = {
        "source": {"format": "ndjson", "path": f"{source}/{files}"},
        "labels": LABELS,
        "output": {"path": "out"},
        "cache": "none",  # what is made once for all tests would else be kept in the user's own cache
    }
    return parse_job(document, folder / "job.yaml")


def rows(folder: Path) -> list[dict[str, Any]]:
    """All rows, results and failures, without what depends on the clock."""
    found = [*pq.read_table(folder / "out").to_pylist(), *pq.read_table(folder / "out-failures").to_pylist()]
    timed = {"latency_ms", "attempted_at"}
    return sorted(({k: v for k, v in row.items() if k not in timed} for row in found), key=lambda row: row["id"])


def flink_args(cluster: Cluster, jar: str, parallelism: int = 2) -> list[str]:
    return [
        f"--flink_master={cluster.address}",
        f"--flink_job_server_jar={jar}",
        f"--parallelism={parallelism}",
    ]


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the local runner makes of the source, with the fake model."""
    folder = tmp_path_factory.mktemp("local")
    run_job(job_in(folder, source), source, load=fakes.load)
    found = rows(folder)
    assert len(found) == RECORDS
    return found


@pytest.mark.parametrize("dedup", ["worker", "global"])
def test_known_answers_are_joined_on_a_cluster(tmp_path: Path, cluster: Cluster, jar: str, dedup: str) -> None:
    """Rows of the last output are answers, whatever worker its record falls to; two workers share one join."""
    records = [{"id": f"r{n}", "text": f"{LABELS[n % 3]} {n // 6}"} for n in range(12_000)]
    path = tmp_path / "a.ndjson"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    document = {**job_in(tmp_path, tmp_path).model_dump(exclude_unset=True), "only": "stale", "dedup": dedup}
    job = parse_job(document, tmp_path / "job.yaml")
    first = run_job(job, tmp_path, "flink", flink_args(cluster, jar), load=fakes.load)
    before = {row["id"]: row["label"] for row in rows(tmp_path)}
    with path.open("a") as file:
        file.writelines(json.dumps({"id": f"new{n}", "text": f"sales, new {n}"}) + "\n" for n in range(30))
    second = run_job(job, tmp_path, "flink", flink_args(cluster, jar), load=fakes.load)
    assert first is not None and second is not None
    assert (first.results, second.results, second.cached) == (12_000, 12_030, 12_000)
    if dedup == "global":
        assert first.cached == 12_000 - 6_000
    after = {row["id"]: row["label"] for row in rows(tmp_path)}
    assert after == before | {f"new{n}": "sales" for n in range(30)}


def when_half_way(folder: Path, act: Callable[[], None]) -> threading.Thread:
    """Acts once both workers have written rows that nobody can see yet."""

    def watch() -> None:
        end = time.monotonic() + HALF_WAY_SECONDS
        while time.monotonic() < end:
            if len(list(folder.glob("out/_temporary/*/*"))) >= 2:
                time.sleep(slow.CHUNK_SECONDS)
                act()
                return
            time.sleep(0.05)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def python_workers(cluster: Cluster) -> list[psutil.Process]:
    return [
        child
        for manager in cluster.task_managers
        if manager.poll() is None
        for child in psutil.Process(manager.pid).children(recursive=True)
        if "classer-worker" in " ".join(child.cmdline())
    ]


def kill_task_manager(cluster: Cluster) -> None:
    busy = python_workers(cluster)[0].parent()
    assert busy is not None
    busy.kill()


def kill_python_worker(cluster: Cluster) -> None:
    python_workers(cluster)[0].kill()


def test_the_embedded_model_gives_the_same_rows_as_locally(
    cluster: Cluster, jar: str, source: Path, tmp_path: Path
) -> None:
    """Five thousand records of one file, which both workers share."""
    here, there = tmp_path / "here", tmp_path / "there"
    load = partial(load_engine, "embedded", "embedded", "fail", 1)
    run_job(job_in(here, source, "3.ndjson"), source, load=load)
    summary = run_job(job_in(there, source, "3.ndjson"), source, "flink", flink_args(cluster, jar), load=load)
    assert rows(there) == rows(here)
    assert (summary.records, summary.failures) == (RECORDS // 4, {"text_empty": 20})
    assert len(list((there / "out").glob("part-*"))) >= 2  # both slots wrote


@pytest.mark.parametrize("format_", ["ndjson", "csv"])
def test_one_file_that_cannot_be_divided_keeps_all_workers_busy(
    cluster: Cluster, jar: str, source: Path, tmp_path: Path, expected: list[Any], format_: str
) -> None:
    """A compressed file, and a CSV file, are read by one worker and classified by both."""
    records = [json.loads(line) for path in sorted(source.glob("*.ndjson")) for line in path.read_text().splitlines()]
    if format_ == "ndjson":
        with gzip.open(tmp_path / "all.ndjson.gz", "wt") as packed:
            packed.writelines(json.dumps(record) + "\n" for record in records)
    else:
        with (tmp_path / "all.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "text", "n"])
            writer.writeheader()
            writer.writerows(record | {"text": record["text"].replace(" (", "\n(")} for record in records)
    document = {
        "source": {"format": format_, "path": "all.*"},
        "labels": LABELS,
        "output": {"path": "out"},
        "cache": "none",
    }
    job = parse_job(document, tmp_path / "job.yaml")
    summary = run_job(job, tmp_path, "flink", flink_args(cluster, jar), load=slow.load_named)
    assert summary.records == RECORDS
    answered = rows(tmp_path)
    assert [(row["id"], row.get("label")) for row in answered] == [(row["id"], row.get("label")) for row in expected]
    workers = Counter(row["model"] for row in answered if "model" in row)
    assert len(workers) == 2 and min(workers.values()) > RECORDS // 10


@pytest.mark.parametrize("kill", [kill_python_worker, kill_task_manager])
def test_a_worker_that_dies_half_way_costs_no_row_and_doubles_none(
    cluster: Cluster, jar: str, source: Path, tmp_path: Path, expected: list[Any], kill: Callable[[Cluster], None]
) -> None:
    dead = when_half_way(tmp_path, partial(kill, cluster))
    summary = run_job(job_in(tmp_path, source), source, "flink", flink_args(cluster, jar), load=slow.load)
    dead.join()
    assert rows(tmp_path) == expected
    assert summary.records == RECORDS
    assert restarts(cluster) >= 1
    assert not (tmp_path / "out" / "_temporary").exists()
    if kill is kill_task_manager:
        cluster.replace_dead()


def restarts(cluster: Cluster) -> int:
    """How often the newest job was started again."""
    jobs = cluster.get("jobs/overview")["jobs"]
    newest = max(jobs, key=lambda job: job["start-time"])["jid"]
    return len(cluster.get(f"jobs/{newest}/exceptions")["exceptionHistory"]["entries"])


def test_a_worker_out_of_memory_is_tried_again(
    cluster: Cluster, jar: str, source: Path, tmp_path: Path, expected: list[Any]
) -> None:
    load: Callable[[], Engine] = partial(slow.load_greedy, str(tmp_path))
    run_job(job_in(tmp_path, source), source, "flink", flink_args(cluster, jar), load=load)
    assert (tmp_path / "out-of-memory").exists()
    assert restarts(cluster) >= 1
    assert rows(tmp_path) == expected


def test_a_job_outlives_the_client_that_started_it(
    cluster: Cluster, jar: str, source: Path, tmp_path: Path, expected: list[Any]
) -> None:
    code = (
        "import sys; from pathlib import Path; from runners.local import run_job; from tests.runners import slow\n"
        "from tests.runners.test_flink import job_in\n"
        "here, source = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "run_job(job_in(here, source), source, 'flink', sys.argv[3:], load=slow.load)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(source), *flink_args(cluster, jar)]
    client = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    when_half_way(tmp_path, client.kill).join()
    assert client.wait(10) == -signal.SIGKILL
    wait_until(lambda: (tmp_path / "out-failures" / "_SUCCESS").exists() and (tmp_path / "out" / "_SUCCESS").exists())
    assert rows(tmp_path) == expected


def test_workers_of_a_pool(cluster: Cluster, jar: str, source: Path, tmp_path: Path, expected: list[Any]) -> None:
    """EXTERNAL: as beside the TaskManagers of a Kubernetes cluster."""
    port = free_port()
    worker = Path(sys.executable).parent / "classer-worker"
    module = "apache_beam.runners.worker.worker_pool_main"
    command = [sys.executable, "-m", module, f"--service_port={port}", f"--container_executable={worker}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as pool:
        try:
            args = ["--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"]
            args += flink_args(cluster, jar, parallelism=1)
            run_job(job_in(tmp_path, source), source, "flink", args, load=fakes.load)
        finally:
            for child in psutil.Process(pool.pid).children(recursive=True):
                child.kill()
            pool.kill()
    assert rows(tmp_path) == expected


# Beam's workers in this process say so in their threads when the runner hangs up on them at the end of a job.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_flink_without_an_address_is_embedded(jar: str, source: Path, tmp_path: Path, expected: list[Any]) -> None:
    args = [f"--flink_job_server_jar={jar}"]
    summary: RunSummary = run_job(job_in(tmp_path, source), source, "flink", args, load=fakes.load)
    assert rows(tmp_path) == expected
    assert summary.results == RECORDS - 20


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + JOB_SECONDS
    while not condition():
        assert time.monotonic() < end, "the job did not end in time"
        time.sleep(0.2)
