"""Scaling on a real Flink, and what it costs beside the local runner: `python -m tests.benchmarks.cluster [files|one]`.

`files` reads several files with the embedded model, whose rate the machine's cores limit; `one` reads one compressed
file and one CSV file with a model that waits two seconds a chunk, so that only the distribution of work counts.

Starting a job (Java, workers, the model) takes the same whatever it holds, so rates are those of the records that a
large job has more than a small one: (large - small) / (seconds of large - seconds of small).
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from classer_core.engine import load_engine
from classer_core.hardware import available_cores
from pipelines.chunks import CHUNK_ROWS
from pipelines.job import parse_job
from runners.flink.cluster import Cluster
from runners.flink.jars import built_job_server_jar
from runners.local import run_job
from tests.runners import slow

SMALL, LARGE = 2_000, 12_000
CHUNKS = (4, 24)
FILES = 8
LABELS = ["billing", "technical", "sales"]
TEXT = "I was charged twice for the same month, and the page that should show my invoices says that nothing is there. "


def one_file() -> None:
    """Print how much faster two TaskManagers are on one file that only one worker can read."""
    jar = f"--flink_job_server_jar={built_job_server_jar()}"
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # workers find the slow model of the tests
    print("| one file, a model of constant cost | one slot, records/s | two slots | |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name, Cluster(task_managers=2, slots=1) as cluster:
        folder = Path(name)
        for format_, suffix, write in (("ndjson", "ndjson.gz", _write_compressed), ("csv", "csv", _write_csv)):
            rates = []
            for slots in (1, 2):
                seconds = []
                for chunks in CHUNKS:
                    path = folder / f"{chunks}.{suffix}"
                    write(path, chunks * CHUNK_ROWS)
                    output = f"out-{format_}-{slots}-{chunks}"
                    source = {"format": format_, "path": path.name}
                    document = {"source": source, "labels": LABELS, "output": {"path": output}, "cache": "none"}
                    job = parse_job(document, folder / "job.yaml")
                    args = [f"--flink_master={cluster.address}", jar, f"--parallelism={slots}"]
                    start = time.perf_counter()
                    run_job(job, folder, "flink", args, load=slow.load)
                    seconds.append(time.perf_counter() - start)
                rates.append((CHUNKS[1] - CHUNKS[0]) * CHUNK_ROWS / (seconds[1] - seconds[0]))
            print(f"| {format_} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[1] / rates[0]:.2f}x |")


def _write_compressed(path: Path, count: int) -> None:
    lines = (json.dumps({"id": number, "text": f"{number}: {TEXT}"}) + "\n" for number in range(count))
    path.write_bytes(gzip.compress("".join(lines).encode()))


def _write_csv(path: Path, count: int) -> None:
    """Write rows with quoted newlines, which only a reader from the file's start can tell from ends of rows."""
    rows = (f'{number},"{number}:\n{TEXT}"\n' for number in range(count))
    path.write_text("id,text\n" + "".join(rows))


def several_files() -> None:
    """Print rates of the embedded model on several files."""
    jar = f"--flink_job_server_jar={built_job_server_jar()}"
    threads = available_cores()
    with tempfile.TemporaryDirectory() as name, Cluster(task_managers=2, slots=1) as cluster:
        folder = Path(name)
        for count in (SMALL, LARGE):
            _write(folder / str(count), count)
        flink = [f"--flink_master={cluster.address}", jar]
        one = _rate(folder, "flink", [*flink, "--parallelism=1"], threads=1)
        two = _rate(folder, "flink", [*flink, "--parallelism=2"], threads=1)
        local = _rate(folder, "local", [], threads)
    print("| | records/s | |\n|---|---|---|")
    print(f"| Flink, one slot, one thread | {one:,.0f} | |")
    print(f"| Flink, two slots on two TaskManagers, one thread each | {two:,.0f} | {two / one:.2f}x one slot |")
    print(f"| local, {threads} threads | {local:,.0f} | Flink reaches {two / local:.0%} of it |")


def _rate(folder: Path, runner: str, args: Sequence[str], threads: int) -> float:
    small, large = (_seconds(folder / str(count), runner, args, threads) for count in (SMALL, LARGE))
    return (LARGE - SMALL) / max(large - small, 1e-9)


def _seconds(folder: Path, runner: str, args: Sequence[str], threads: int) -> float:
    source, output = {"format": "ndjson", "path": "*.ndjson"}, {"path": "out"}
    document = {"source": source, "labels": LABELS, "output": output, "cache": "none"}
    load = partial(load_engine, "embedded", "embedded", "fail", threads)
    if runner == "local":
        load()
    start = time.perf_counter()
    run_job(parse_job(document, folder / "job.yaml"), folder, runner, args, load=load)
    return time.perf_counter() - start


def _write(folder: Path, count: int) -> None:
    folder.mkdir()
    for part in range(FILES):
        with (folder / f"{part}.ndjson").open("w") as file:
            for number in range(part, count, FILES):
                file.write(json.dumps({"id": number, "text": f"{number}: {TEXT}"}) + "\n")


if __name__ == "__main__":
    parts = {"files": several_files, "one": one_file}
    for part in sys.argv[1:] or parts:
        parts[part]()
