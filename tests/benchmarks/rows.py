"""What Beam and we cost per record, and whether memory stays flat: jobs with a model that takes no time.

    python -m tests.benchmarks.rows

Each job runs in a process of its own; memory is that of the whole process tree, sampled every 50 ms.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track
from rich.table import Table

from classer_core import Classifier, Engine, Scores
from tests.benchmarks.memory import PeakMemory

NO_CACHE, NEW, SAME = "none", "new", "the same again"
JOBS = [
    *((format, rows, NO_CACHE) for format in ("parquet", "ndjson") for rows in (100_000, 2_000_000)),
    ("parquet", 2_000_000, NEW),
    ("parquet", 2_000_000, SAME),
]


class InstantModel:
    """Scores without reading."""

    id = "instant"

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores]:
        """The first label, always."""
        values = np.array([0.5, 0.1, 0.1], dtype=np.float32)
        return [Scores(values, tokens=6) for _ in texts]


def load() -> Engine:
    """Loads in no time."""
    return Engine(InstantModel())


def write_source(path: Path, rows: int) -> None:
    """Short texts with an id and a column that passes through."""
    texts = (f"short text number {row} of the file" for row in range(rows))
    if path.suffix == ".parquet":
        table = pa.table({"ticket_id": range(rows), "body": list(texts), "team": ["support"] * rows})
        pq.write_table(table, path, row_group_size=100_000)
        return
    with path.open("w") as file:
        for row, text in enumerate(texts):
            file.write(json.dumps({"ticket_id": row, "body": text, "team": "support"}) + "\n")


def run_one(source: Path, cache: str) -> None:
    """Runs one job and prints its figures as JSON."""
    logging.disable(logging.WARNING)
    from pipelines.job import parse_job
    from runners.local import run_job
    from tests.benchmarks import rows  # the loader must be importable by name, not from __main__

    document = {
        "source": {"format": source.suffix[1:], "path": source.name, "columns": {"id": "ticket_id", "text": "body"}},
        "labels": ["billing", "technical", "sales"],
        "output": {"path": f"out-{source.suffix[1:]}"},
        "cache": cache if cache == NO_CACHE else f"sqlite:///{source.parent}/answers.sqlite",
    }
    job = parse_job(document, source.parent / "job.yaml")
    with PeakMemory() as peak:
        summary = run_job(job, source.parent, load=rows.load)
    print(json.dumps({"seconds": summary.seconds, "results": summary.results, "peak_bytes": peak.bytes}))


def main() -> None:
    """Prints the table."""
    table = Table("job", "rows", "cache", "rows/s", "peak MB", "peak to 100,000 rows", box=None)
    peaks: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for format, rows, cache in track(JOBS, console=Console(stderr=True), disable=not sys.stderr.isatty()):
            source = Path(folder) / f"{rows}.{format}"
            if not source.exists():
                write_source(source, rows)
            command = [sys.executable, "-m", "tests.benchmarks.rows", str(source), cache]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            figures = json.loads(printed.splitlines()[-1])
            if figures["results"] != rows:
                raise SystemExit(f"{rows} rows went in, {figures['results']} came out")
            first = peaks.setdefault(format, figures["peak_bytes"])
            rate, peak = rows / figures["seconds"], figures["peak_bytes"]
            figures = f"{rate:,.0f}", f"{peak / 1e6:,.0f}", f"{peak / first:.2f}"
            table.add_row(f"{format} to parquet", f"{rows:,}", cache, *figures)
    Console(width=110).print(table)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_one(Path(sys.argv[1]), sys.argv[2])
    else:
        main()
