"""The summary of a run: for people in the terminal, for schedulers as `--summary run.json`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import typer

from classer_core.errors import (
    AlarmError,
    ClasserError,
    FailureCode,
    JobError,
    Problem,
    TooManyFailuresError,
    UnreadableFilesError,
)
from classer_core.fetching.rules import without_secrets
from classer_core.storage import write_whole
from classer_core.storage_errors import as_problem
from pipelines.job import Job
from runners.exits import exit_codes

COUNTS = (
    *("records", "results", "abstained", "cached", "duplicates", "current", "postponed"),
    *("cache_errors", "unreadable_files", "failures", "tokens", "model_ms", "classifiers"),
    *("estimated_accuracy", "unsure"),
)


@dataclass(frozen=True)
class RunSummary:
    """The counts of a finished run. `failures` are by code; `tokens` and `model_ms` are what the model read and took.

    `cached` of the results were not read; `cache_errors` times the cache was in trouble. `classifiers` counts results
    by saved version; all that no saved classifier answered are under `inline`. `duplicates` of a stream's rows were
    dropped, because the output had their ids. Of a merge, `current` records were in the table already, and `postponed`
    ones are left for the next run; neither is among the records. `estimated_accuracy` is the mean confidence of the
    answers that did not abstain; `unsure` answers are more likely wrong than right, or have no label. Rows that are not
    published are under `_temporary`.
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
    duplicates: int = 0
    current: int = 0
    postponed: int = 0
    unreadable_files: int = 0
    is_published: bool = True
    estimated_accuracy: float | None = None
    unsure: int = 0

    @classmethod
    def of(cls, job: Job, run: str, result: Any, seconds: float) -> Self:
        """Return the summary of a finished run from its counters."""
        from apache_beam.metrics import MetricsFilter

        from pipelines.classify import NAMESPACE

        found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
        counters: Counter[str] = Counter()
        for counter in found["counters"]:  # several steps may count the same
            counters[counter.key.metric.name] += counter.result
        distributions = {item.key.metric.name: item.result for item in found["distributions"]}
        failures = _counted(counters, "failures.")
        model_ms, answered = distributions.get("model_ms"), counters["answered"]
        return cls(
            run=run,
            records=counters["records"],
            results=counters["results"] - failures.get(FailureCode.ROW_REFUSED, 0),
            abstained=counters["abstained"],
            cached=counters["cached"],
            cache_errors=counters["cache_errors"],
            failures=failures,
            tokens=counters["tokens"],
            seconds=seconds,
            model_ms=model_ms.sum if model_ms else 0,
            classifiers=_counted(counters, "classifier."),
            chunk_records=distributions.get("chunk_records"),
            output=without_secrets(job.output.place),
            failures_path=without_secrets(job.failures_output.place),
            duplicates=counters["duplicates"],
            current=counters["current"],
            postponed=counters["postponed"],
            unreadable_files=counters["unreadable_files"],
            is_published=not counters["withheld"],
            estimated_accuracy=round(counters["confidence"] / 1e4 / answered, 4) if answered else None,
            unsure=counters["unsure"],
        )


@dataclass
class Report:
    """A run as its summary file tells it."""

    job: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    summary: RunSummary | None = None
    exit_code: int | None = None
    problems: list[Problem] = field(default_factory=list)

    def failed(self, error: BaseException) -> None:
        """Takes what an error says; of one that nobody expected, only its kind, for there may be secrets in it."""
        if isinstance(error, JobError):
            self.problems = error.problems
        elif isinstance(error, ClasserError):
            self.problems = [Problem("", "", str(error), "")]
        else:
            self.problems = [Problem("", "", type(error).__name__, "The log has the whole error.")]
        if isinstance(error, TooManyFailuresError | UnreadableFilesError | AlarmError):
            self.summary = error.summary

    def to_json(self) -> bytes:
        """Every key is always there; what is not known is null."""
        finished = None if self.exit_code is None else datetime.now(UTC)
        counts = {name: getattr(self.summary, name, None) for name in COUNTS}
        document = {
            "run": self.summary and self.summary.run,
            "job": self.job,
            "started": self.started.isoformat(timespec="milliseconds"),
            "finished": finished and finished.isoformat(timespec="milliseconds"),
            "seconds": finished and round((finished - self.started).total_seconds(), 3),
            "exit_code": self.exit_code,
            **counts,
            "published": self.summary and self.summary.is_published,
            "output": self.summary and self.summary.output,
            "failures_output": self.summary and self.summary.failures_path,
            "problems": [asdict(problem) for problem in self.problems],
        }
        return json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"


@contextmanager
def reported(path: str | None, job: str) -> Iterator[Report]:
    """Writes the summary of what happens inside, however it ends: whole or not at all.

    It is written before, too, without an exit code: that a run was killed can be seen, and that it can't be written.

    Raises:
        typer.Exit: it can't be written; nothing has begun.
    """
    report = Report(job)
    if path is not None:
        with exit_codes(), as_problem("--summary", path):
            write_whole(path, report.to_json())
    try:
        yield report
        report.exit_code = 0
    except typer.Exit as stopped:
        report.exit_code = stopped.exit_code
        if stopped.__cause__ is not None:
            report.failed(stopped.__cause__)
        raise
    except BaseException as error:
        report.exit_code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
        report.failed(error)
        raise
    finally:
        if path is not None:
            write_whole(path, report.to_json())


def _counted(counters: Mapping[str, int], prefix: str) -> dict[str, int]:
    """Counters whose names begin with `prefix`, by the rest of their names."""
    found = sorted(counters.items())
    return {name.removeprefix(prefix): count for name, count in found if count and name.startswith(prefix)}
