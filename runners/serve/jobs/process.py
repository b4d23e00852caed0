"""The process of one job: `python -m runners.serve.jobs.process FOLDER SETTINGS`.

It does the same work however often it is begun: a server that finds it dead begins it anew, and what was answered
before comes from the cache. `outcome.json` is written last; without it the job has not ended.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from classer_core.errors import ClasserError
from pipelines import progress
from pipelines.job import parse_job
from runners.console import drop_noise
from runners.local import run_job
from runners.serve.jobs.lines import write_records
from runners.serve.jobs.results import ResultLines
from runners.serve.jobs.store import write_whole

log = logging.getLogger(__name__)

# The URL of the cache, which may hold a password, is handed over in the environment.
CACHE_VARIABLE = "CLASSER_SERVE_CACHE"
PROGRESS_S = 0.5
# Requests of the API go first where both want the processor.
NICENESS = 10


def main(folder: Path, document: dict[str, Any]) -> None:
    """Run a job and write how it ended.

    Args:
        folder: the job's; `input.ndjson` is there.
        document: keys of a job file beside its source and outputs.
    """
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        outcome = _run(folder, work, document)
    except ClasserError as error:
        log.exception("the job failed")
        outcome = {"status": "failed", "error": f"The run ended with {type(error).__name__}; the server's log says why"}
    shutil.rmtree(work, ignore_errors=True)
    write_whole(folder / "outcome.json", json.dumps(outcome).encode())


def _run(folder: Path, work: Path, document: dict[str, Any]) -> dict[str, Any]:
    # A job's files are looked for when it is parsed; these rows are written after that, with what the job says.
    (work / "records.parquet").touch()
    job = parse_job(
        document
        | {
            "source": {"format": "parquet", "path": "records.parquet"},
            "output": {"format": "parquet", "path": "results"},
            "failures": {"format": "parquet", "path": "failures"},
            "passthrough": False,
            "cache": f"env:{CACHE_VARIABLE}",
        },
        work / "job.yaml",
    )
    classifier = job.request_parser().classifier
    lines = ResultLines(work / "lines.sqlite", classifier is not None and classifier.mode == "multi")
    total, records = write_records(folder / "input.ndjson", work / "records.parquet", lines.fail)
    tokens = 0
    if records:
        stop = threading.Event()
        watcher = threading.Thread(target=_report, args=(folder, total, stop), daemon=True)
        watcher.start()
        try:
            summary = run_job(job, work)
        finally:
            stop.set()
            watcher.join()
        tokens = summary.tokens if summary is not None else 0
        lines.add_results(work / "results")
        lines.add_failures(work / "failures")
    written, failed = lines.write(work / "results.ndjson")
    lines.close()
    if written != total:
        raise ClasserError(f"{total} lines were read, and {written} were written")
    (work / "results.ndjson").replace(folder / "results.ndjson")
    return {"status": "completed", "total": total, "failed": failed, "tokens": tokens}


def _report(folder: Path, total: int, stop: threading.Event) -> None:
    """Write how far the job is, from time to time."""
    while not stop.wait(PROGRESS_S):
        write_whole(folder / "progress.json", json.dumps({"total": total, "done": progress.done()}).encode())


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    drop_noise()
    os.nice(NICENESS)
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
