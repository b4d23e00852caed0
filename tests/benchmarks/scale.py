"""How cost grows: `python -m tests.benchmarks.scale [launch|stale|publish]`.

Each measurement runs in a process of its own, which imports and warms up before it is measured. A slope of 1 in the
logarithms of size and cost is linear growth, 0 is none.

    launch    files of a source: what finding its columns and listing its parts take, in seconds and bytes
    stale     rows of the last output, of which a constant number is asked for: making the table of a local run
    publish   files of a run that get their names: seconds
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.memory import PeakMemory

FILES = [1_000, 10_000, 100_000]
ROWS = [100_000, 1_000_000]
PUBLISHED = [10, 1_000, 10_000]
ASKED = WARM_UP = 1_000
ROWS_TOGETHER = 100_000


def launch(folder: Path, count: int) -> Callable[[], Any]:
    """Return what a launch does with a source of so many files of one row."""
    from pipelines.selection import Selection
    from pipelines.sources.files import FileSource

    for number in range(count):
        place = folder / f"{number // 1_000:04d}"
        if number % 1_000 == 0:
            place.mkdir()
        (place / f"{number}.ndjson").write_text('{"id": "1", "text": "billing"}\n')
    source = FileSource(format="ndjson", path=(f"{folder}/**",))

    def measured() -> None:
        columns = source.find_columns(Selection({"id": "id", "text": "text"}))
        assert sum(1 for _ in source.parts(columns)) == count

    return measured


def stale(folder: Path, count: int) -> Callable[[], Any]:
    """Return what `only: stale` does with a last output of so many rows."""
    from classer_core.abstaining import Abstention
    from classer_core.records import RESULT_SCHEMA
    from pipelines.known import LastOutput
    from pipelines.outputs.files import FileOutput

    with pq.ParquetWriter(folder / "part-00000-of-00001-20261101T000000_aaaaaa.parquet", RESULT_SCHEMA) as file:
        for start in range(0, count, ROWS_TOGETHER):
            rows = [result_row(number) for number in range(start, min(start + ROWS_TOGETHER, count))]
            file.write_table(pa.Table.from_pylist(rows, schema=RESULT_SCHEMA))
    last = LastOutput(FileOutput(path=str(folder)), "run", Abstention(), None)
    asked = {fingerprint_of(number) for number in range(0, count, count // ASKED)}

    def measured() -> None:
        assert len(last.table().get(asked)) == len(asked)

    return measured


def publish(folder: Path, count: int) -> Callable[[], Any]:
    """Return the publishing of so many files, over the last output of as many."""
    from pipelines.limits import PUBLISHES
    from pipelines.writers.publish import PublishFiles, RowFolder

    schema = pa.schema([("id", pa.string())])
    steps = []
    for run in ("20261101T000000_aaaaaa", "20261102T000000_bbbbbb"):
        temporary = folder / "_temporary" / run
        temporary.mkdir(parents=True)
        paths = [str(temporary / f"{number}.ndjson") for number in range(count)]
        for path in paths:
            Path(path).write_text('{"id": "1"}\n')
        steps.append((PublishFiles([RowFolder(str(folder), "ndjson", schema)], run), paths))
        if len(steps) == 1:
            assert len(list(steps[0][0].process(None, PUBLISHES, paths))) == count
    step, paths = steps[-1]
    return lambda: list(step.process(None, PUBLISHES, paths))


def result_row(number: int) -> dict[str, Any]:
    """Return a row of results, each of another content."""
    answer = {"label": f"label {number % 20}", "confidence": 0.5, "abstained": False, "tokens": 20, "latency_ms": 1.0}
    own = {"id": str(number), "fingerprint": fingerprint_of(number).hex()}
    return {**answer, "cached": False, "classifier": "tickets@v1", "model": "model", "coverage": 1.0, **own}


def fingerprint_of(number: int) -> bytes:
    """Return a fingerprint, spread as digests are."""
    return (number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)).to_bytes(16, "big")


KINDS: dict[str, tuple[Callable[[Path, int], Callable[[], Any]], Sequence[int], str]] = {
    "launch": (launch, FILES, "files"),
    "stale": (stale, ROWS, "rows of the last output"),
    "publish": (publish, PUBLISHED, "files published"),
}


def measure(kind: str, count: int) -> None:
    """Print seconds and bytes of one measurement as JSON; runs in a process of its own."""
    folder = Path(tempfile.mkdtemp(prefix="scale-"))
    try:
        for name, size in (("warm", WARM_UP), ("measured", count)):
            (folder / name).mkdir()
            measured = KINDS[kind][0](folder / name, size)
            if name == "warm":
                measured()
        before = psutil.Process().memory_info().rss
        start = time.perf_counter()
        with PeakMemory() as peak:
            measured()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "bytes": max(0, peak.bytes - before)}))
    finally:
        shutil.rmtree(folder)


def slope(sizes: Sequence[float], costs: Iterable[float]) -> float:
    """Return the slope of the least-squares line through the logarithms.

    >>> slope([10, 100, 1000], [3, 30, 300])
    1.0
    """
    x, y = [math.log(size) for size in sizes], [math.log(max(cost, 1e-9)) for cost in costs]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return round(above / sum((a - mean_x) ** 2 for a in x), 2)


def main(kinds: Sequence[str]) -> None:
    """Print one table for each kind."""
    for kind in kinds or list(KINDS):
        _, sizes, what = KINDS[kind]
        print(f"\n| {what} | seconds | MB above the start |\n|---|---|---|")
        found = []
        for size in sizes:
            command = [sys.executable, "-m", "tests.benchmarks.scale", "--measure", kind, str(size)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"| {size:,} | {found[-1]['seconds']:,.2f} | {found[-1]['bytes'] / 1e6:,.1f} |", flush=True)
        seconds = slope(sizes, (item["seconds"] for item in found))
        bytes_each = (found[-1]["bytes"] - found[0]["bytes"]) / (sizes[-1] - sizes[0])
        print(f"| slope of the logarithms; bytes each | {seconds} | {bytes_each:,.0f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], int(sys.argv[3]))
    else:
        main(sys.argv[1:])
