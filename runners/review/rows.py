"""The rows of a job's output that are worth a review."""

from __future__ import annotations

from pathlib import Path

from classer_core.classifiers import shown
from classer_core.errors import JobError, Problem
from classer_core.fetching.rules import without_secrets
from classer_core.reports.gather import GATHERED_SCHEMA, TEXT
from classer_core.review import Candidate, Chooser, ReviewQueue
from pipelines.job.model import Job
from runners.reporting import rows_of, text_name


def review_of(job: Job, file: Path, size: int) -> ReviewQueue:
    """Return the queue of a review of what a job has written.

    Args:
        job: the job.
        file: where gold rows go.
        size: number of rows to choose.

    Raises:
        JobError: the output has no rows with texts, records bring their own labels, or the file is another one.
    """
    spelled = job.spelled_out()
    if not spelled.labels:
        remedy = "Give the job labels or a classifier."
        raise JobError([Problem("labels", "", "are the records' own, and a review needs those of the job", remedy)])
    chooser, found = Chooser(size), 0
    for batch in rows_of(job.output, GATHERED_SCHEMA, text_name(job)):
        for row in batch.to_pylist():
            if row[TEXT]:
                given = row["labels"] if row["labels"] is not None else [row]
                labels = tuple(item["label"] for item in given if item["label"] is not None)
                chooser.add(Candidate(row["id"], row[TEXT], labels, row["confidence"]))
                found += 1
    if not found:
        message = "has no rows with texts to review"
        remedy = "Run the job first, and let the text pass through: passthrough."
        raise JobError([Problem("output", shown(without_secrets(job.output.place), 200), message, remedy)])
    columns = (job.column_of("id") or "id", job.column_of("text") or "text")
    try:
        return ReviewQueue(chooser.rows(), spelled.labels, file, columns, several=spelled.mode == "multi")
    except ValueError as error:
        raise JobError([Problem("--save", shown(str(file), 200), str(error), "Name another one.")]) from error
