"""What a run did: for people in the terminal, for schedulers as `--summary run.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import typer

from classer_core.errors import ClasserError, JobError, Problem, TooManyFailuresError
from classer_core.storage import write_whole

COUNTS = ("records", "results", "abstained", "cached", "cache_errors", "failures", "tokens", "model_ms", "classifiers")


@dataclass(frozen=True)
class RunSummary:
    """What a finished run did. `failures` counts by code; `tokens` and `model_ms` are what the model read and took.

    `cached` of the results were not read; `cache_errors` times the cache was in trouble. `classifiers` counts results
    by saved version; all that no saved classifier answered are under `inline`.
    """

    run: str
    records: int
    results: int
    abstained: int
    cached: int
    cache_errors: int
    failures: dict[str, int]
    tokens: int
    seconds: float
    model_ms: int
    classifiers: dict[str, int]
    chunk_records: Any
    output: str
    failures_path: str


@dataclass
class Report:
    """A run as its summary file tells it."""

    job: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    summary: RunSummary | None = None
    exit_code: int = 1
    problems: list[Problem] = field(default_factory=list)

    def failed(self, error: BaseException) -> None:
        """Takes what an error says; of one that nobody expected, only its kind, for there may be secrets in it."""
        if isinstance(error, JobError):
            self.problems = error.problems
        elif isinstance(error, ClasserError):
            self.problems = [Problem("", "", str(error), "")]
        else:
            self.problems = [Problem("", "", type(error).__name__, "The log has the whole error.")]
        if isinstance(error, TooManyFailuresError):
            self.summary = error.summary

    def to_json(self) -> bytes:
        """Every key is always there; what is not known is null."""
        finished = datetime.now(UTC)
        counts = {name: getattr(self.summary, name, None) for name in COUNTS}
        document = {
            "run": self.summary and self.summary.run,
            "job": self.job,
            "started": self.started.isoformat(timespec="milliseconds"),
            "finished": finished.isoformat(timespec="milliseconds"),
            "seconds": round((finished - self.started).total_seconds(), 3),
            "exit_code": self.exit_code,
            **counts,
            "output": self.summary and self.summary.output,
            "failures_output": self.summary and self.summary.failures_path,
            "problems": [asdict(problem) for problem in self.problems],
        }
        return json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"


@contextmanager
def reported(path: str | None, job: str) -> Iterator[Report]:
    """Writes the summary of what happens inside, however it ends: whole or not at all."""
    report = Report(job)
    try:
        yield report
        report.exit_code = 0
    except typer.Exit as stopped:
        report.exit_code = stopped.exit_code
        if stopped.__cause__ is not None:
            report.failed(stopped.__cause__)
        raise
    except BaseException as error:
        report.failed(error)
        raise
    finally:
        if path is not None:
            write_whole(path, report.to_json())
