"""`alarm:` of a job: its run against limits and a reference, when all rows are published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from classer_core.classifiers import shown
from classer_core.errors import AlarmError, JobError, Problem
from classer_core.fetching.rules import redacted
from classer_core.reports import Gatherer, RunReport
from classer_core.reports.alarm import alarms
from classer_core.reports.gather import GATHERED_SCHEMA, TEXT
from classer_core.reports.shift import TextSample, text_shift
from pipelines.job.alarm import Alarm
from pipelines.job.model import Job
from pipelines.outputs import Output
from pipelines.outputs.files import FileOutput
from runners.reporting import FAILURES_SCHEMA, rows_of, text_name
from runners.summary import RunSummary


@dataclass(frozen=True)
class Seen:
    """What is compared of an output: its figures, and a sample of its texts."""

    report: RunReport
    texts: list[str]

    @classmethod
    def of(cls, output: Output, failures: Output, text: str) -> Self:
        """Read an output.

        Args:
            output: of results.
            failures: of failures.
            text: the column of the texts; without it in the output, there are none.

        Raises:
            JobError: it can't be read.
        """
        gatherer, sample = Gatherer(redact=True), TextSample()
        for batch in rows_of(output, GATHERED_SCHEMA, text):
            gatherer.add(batch)
            sample.add(batch[TEXT].to_pylist())
        for batch in rows_of(failures, FAILURES_SCHEMA):
            gatherer.add_failures(batch)
        return cls(gatherer.report(output.place), sample.texts)


@dataclass(frozen=True)
class Watch:
    """A job's alarm, with what its reference was before the run, which may replace it."""

    alarm: Alarm
    before: Seen | None

    @classmethod
    def of(cls, job: Job) -> Self | None:
        """Return what watches a job's run, ready before it begins; None for a job without an alarm.

        Raises:
            JobError: the reference has no rows, and is not the job's own output, which has none before its first run.
        """
        if job.alarm is None:
            return None
        place = job.alarm.reference
        if place is None:
            return cls(job.alarm, None)
        is_own = job.output.folder is not None and place.rstrip("/") == job.output.folder.rstrip("/")
        reference = FileOutput(path=place)
        failures = job.failures_output if is_own else reference.failures
        seen = Seen.of(job.output if is_own else reference, failures, text_name(job))
        if seen.report.rows + seen.report.failed == 0:
            if is_own:
                return cls(job.alarm, None)
            message, remedy = "has no rows to compare with", "Name the folder of an earlier output."
            raise JobError([Problem("alarm.reference", shown(redacted(place), 200), message, remedy)])
        return cls(job.alarm, seen)

    def check(self, job: Job, summary: RunSummary) -> None:
        """Compare a finished run.

        Raises:
            AlarmError: with all that is wrong.
        """
        now = Seen.of(job.output, job.failures_output, text_name(job)) if self.before is not None else None
        shift = text_shift(now.texts, self.before.texts) if now is not None and self.before is not None else None
        found = alarms(
            summary.estimated_accuracy,
            summary.unsure / max(summary.results, 1),
            self.alarm.limits,
            None if now is None else now.report,
            None if self.before is None else self.before.report,
            shift,
        )
        if said := "; ".join(found):
            remedy = f"The rows are published; look at them: classer report {summary.output}"
            raise AlarmError(f"alarm: {said}. {remedy}", summary)
