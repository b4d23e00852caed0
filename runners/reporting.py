"""Reports of outputs: of folders, and of whatever a job writes whose rows can be read back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from classer_core.classifiers import shown
from classer_core.errors import JobError, Problem
from classer_core.fetching.rules import without_secrets
from classer_core.records import FAILURE_SCHEMA, RESULT_SCHEMA, result_schema
from classer_core.reports import Gatherer, RunReport, render_page
from classer_core.reports.drift import compared
from classer_core.reports.gather import GATHERED_SCHEMA, TEXT
from classer_core.storage import write_whole
from classer_core.storage_errors import as_problem
from pipelines.chunks import free_names
from pipelines.job.model import Job
from pipelines.outputs import Output
from pipelines.outputs.files import FileOutput
from pipelines.writers.batches import ROWS_TOGETHER, batches_of_folder, from_rows

FAILURES_SCHEMA = pa.schema([FAILURE_SCHEMA.field(name) for name in ("id", "code", "message", "record")])


def report_of_job(job: Job, redact: bool = False, against: str | None = None, text: str | None = None) -> RunReport:
    """Return the report of what a job has written.

    Args:
        job: the job.
        redact: whether texts are hidden.
        against: a folder of an earlier output.
        text: the column of the texts; without, the job's.

    Raises:
        JobError: the output can't be read back, or has no rows.
    """
    column = text or text_name(job)
    prices = (job.prices.tokens, job.prices.currency) if job.prices is not None else (None, None)
    return _report(job.output, job.failures_output, column, redact, against, *prices)


def report_of_folder(
    folder: str, redact: bool = False, against: str | None = None, text: str | None = None, price: float | None = None
) -> RunReport:
    """Return the report of a folder of results; its failures are in the folder beside it.

    Args:
        folder: path or URL.
        redact: whether texts are hidden.
        against: a folder of an earlier output.
        text: the column of the texts; without, `text`, or the column of the longest strings.
        price: of a million tokens.

    Raises:
        JobError: there are no rows.
    """
    output = FileOutput(path=folder)
    column = text or text_column(folder) or TEXT
    return _report(output, output.failures, column, redact, against, price, None)


def text_name(job: Job) -> str:
    """Return the column of a job's results that holds the texts, if they pass through."""
    [name] = free_names([job.column_of("text") or TEXT], result_schema(job.scores is not None).names)
    return name


def text_column(folder: str) -> str | None:
    """Return the column of a folder's rows that is most likely the text: `text`, or the longest strings."""
    with as_problem("output", folder):
        rows = FileOutput(path=folder).first_rows(20, is_stream=False)
    passed = [name for name in (rows[0] if rows else ()) if name not in RESULT_SCHEMA.names]
    length = {name: sum(len(value) for row in rows if isinstance(value := row.get(name), str)) for name in passed}
    return (
        TEXT
        if length.get(TEXT)
        else max((name for name in passed if length[name]), key=lambda name: length[name], default=None)
    )


def _report(
    output: Output,
    failures: Output,
    text: str,
    redact: bool,
    against: str | None,
    price: float | None,
    currency: str | None,
) -> RunReport:
    gatherer = Gatherer(redact)
    for batch in rows_of(output, GATHERED_SCHEMA, text):
        gatherer.add(batch)
    if failures.is_readable:
        for batch in rows_of(failures, FAILURES_SCHEMA):
            gatherer.add_failures(batch)
    place = without_secrets(output.place)
    if not gatherer.rows and not gatherer.failed:
        remedy = "Run the job first, and name the folder of its results, or its job file."
        raise JobError([Problem("output", shown(place, 200), "has no rows that can be read back", remedy)])
    report = gatherer.report(place, price, currency)
    return report if against is None else compared(report, report_of_folder(against, redact=True))


def rows_of(output: Output, schema: pa.Schema, text: str = TEXT) -> Iterator[pa.RecordBatch]:
    """Yield the rows of an output as batches of a schema, whose column `text` is that of the name `text`."""
    given = {name: text if name == TEXT else name for name in schema.names}
    if isinstance(output, FileOutput):
        from pipelines.writers.publish import output_files

        with as_problem("output", output.path):
            files = sorted(output_files(output.path))
        yield from batches_of_folder(output.path, files, schema, given)
        return
    rows: Iterator[dict[str, Any]] = output.last_rows(list(given.values()))
    while part := list(islice(rows, ROWS_TOGETHER)):
        yield from_rows(part, schema, given, {})


def write_report(report: RunReport, html: str, json_file: str | None = None) -> None:
    """Write the page of a report, and its figures where that is asked for.

    Raises:
        JobError: a file can't be written.
    """
    for option, path, data in (("--html", html, render_page(report).encode()), ("--json", json_file, report.to_json())):
        if path is not None:
            with as_problem(option, path):
                write_whole(path, data)


def is_job_file(place: str) -> bool:
    """Return whether a report is asked for of a job file, and not of a folder."""
    return Path(place).suffix in (".yaml", ".yml") and Path(place).is_file()
