"""Try what a job writes to before a record is read; what it reads is tried when its columns are found."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from classer_core.errors import JobError, Problem
from classer_core.fetching.rules import redacted
from classer_core.filesystems import is_url
from classer_core.records import FAILURE_SCHEMA
from classer_core.storage import join, list_folder, remove, write_whole
from classer_core.storage_errors import as_problem
from pipelines.chunks import output_schema
from pipelines.job.model import Job
from pipelines.outputs import Output
from pipelines.readers import Columns
from pipelines.storage import is_match
from pipelines.writers.lease import check_free
from pipelines.written import Merging, WritePlan


def folders_of(job: Job) -> dict[str, str]:
    """Return key of the job -> folder that it writes."""
    outputs = {"output.path": job.output, "failures": job.failures_output}
    return {place: output.folder for place, output in outputs.items() if output.folder is not None}


def exclusive_folders(job: Job) -> list[str]:
    """Folders that one run at a time writes: it replaces what is there. Those of streams only grow."""
    return [] if job.source.is_stream else list(folders_of(job).values())


def check_budget(job: Job, runner: str, at_once: int) -> None:
    """Refuse a budget where several processes would spend it: its state is known in one.

    Raises:
        JobError: there would be several.
    """
    for name in ("max_rows", "max_tokens", "max_cost"):
        if (value := getattr(job, name)) is not None and (runner != "local" or at_once > 1):
            message, remedy = "is counted by runs in one process", "Run it on `local`, or LIMIT a query of the source."
            raise JobError([Problem(name, str(value), message, remedy)])


def check_places(job: Job, columns: Columns, run: str, folder: str) -> None:
    """Tries whatever a job reads from and writes to; tables are made.

    Raises:
        JobError: with the problems found.
        AnotherRunError: another run writes the same folder.
    """
    check_folders(job, run)
    prepare_outputs(job, columns, run)
    if (stream := job.stream) is not None:
        stream.queue(folder, job.folders).check()


def prepare_outputs(job: Job, columns: Columns, run: str) -> None:
    """Try the places of rows that are not folders, and make tables that are missing.

    Raises:
        JobError: with the problems found.
    """
    merging = Merging(columns, job.column_of("id") or "id", job.source.watermark_column)
    schema = output_schema(columns.passed, job.scores is not None)
    job.output.prepare("output", WritePlan(schema, run, job.source.is_stream), merging)
    job.failures_output.prepare("failures", WritePlan(FAILURE_SCHEMA, run, job.source.is_stream))


def check_folders(job: Job, run: str) -> None:
    """Makes, lists and deletes a file in each folder that a job writes, if only for a while.

    Raises:
        JobError: with every problem found.
        AnotherRunError: another run holds one of them.
    """
    problems = [problem for output in job.outputs.values() for problem in _own_output(job, output)]
    if problems:
        raise JobError(problems)
    for place, folder in {**folders_of(job), **_temporary_folders(job)}.items():
        try:
            with as_problem(place, folder):
                _try(folder, run)
                if folder in exclusive_folders(job):
                    check_free(folder)
        except JobError as error:
            problems += error.problems
    if problems:
        raise JobError(problems)


def _temporary_folders(job: Job) -> dict[str, str]:
    """Return key of the job -> folder of files that a run makes and removes."""
    outputs = {"output.temporary": job.output, "failures.temporary": job.failures}
    scratch = {place: output.scratch_folder for place, output in outputs.items() if output is not None}
    return {place: folder for place, folder in scratch.items() if folder is not None}


def _try(folder: str, run: str) -> None:
    if is_url(folder):
        list_folder(folder)
        trial = join(folder, "_temporary", run, "trial")
        write_whole(trial, b"")
        remove([trial])
        return
    there = next(path for path in (Path(folder), *Path(folder).parents) if path.exists())
    with tempfile.TemporaryFile(dir=there):  # without a name where that can be: nobody sees it
        list_folder(folder)


def _own_output(job: Job, output: Output) -> Iterator[Problem]:
    """Yield patterns that match what the job writes; local files are looked at when it is checked."""
    folder = output.folder
    if folder is None or not is_url(folder):
        return
    partitions = [f"{name}=value" for name in getattr(output, "partition_by", ())]
    written = join(folder, *partitions, f"part-00000-of-00001-run.{output.format}")
    for pattern in job.source.patterns:
        if is_match(pattern, written):
            message = f"matches files of the job's own output {redacted(folder)}"
            yield Problem("source.path", redacted(pattern), message, "Write to another folder.")
