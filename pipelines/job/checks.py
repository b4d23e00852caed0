"""What is wrong with a job as a whole, beyond its keys and values one by one."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from classer_core.classifiers import Classifier, shown
from classer_core.errors import JobError, Problem, RecordError
from classer_core.storage import is_url
from pipelines.job.sections import BigQueryOutput, BigQuerySource, FileOutput, FileSource

if TYPE_CHECKING:
    from pipelines.job import Job


def problems_of(job: Job, file: Path) -> list[Problem]:
    """Everything that can be known without looking beyond this machine."""
    return [
        *_classifier_problems(job, file),
        *_path_problems(job, file),
        *_conflicts(job, file),
        *_table_conflicts(job, file),
        *_stream_problems(job, file),
    ]


def _classifier_problems(job: Job, file: Path) -> list[Problem]:
    given = [job.labels, job.classifier, job.column_of("labels"), job.column_of("classifier")]
    if not any(value is not None for value in given):
        message = "labels are missing: the job has none, and its records may not bring their own"
        remedy = (
            "Add `labels:` or `classifier:`; or `record_fields: [labels]`, if whoever writes records may choose them."
        )
        return [Problem(f"{file}: labels", "", message, remedy)]
    try:
        _ = job.abstention
        classifier = job.request_parser().classifier
    except RecordError as error:
        field = error.field or "labels"
        value = shown(getattr(job, field))
        return [Problem(f"{file}: {field}", value, error.message, f"Correct `{field}:`.")]
    return list(_adapt_problems(job, file, classifier)) if job.adapt else []


def _adapt_problems(job: Job, file: Path, classifier: Classifier | None) -> Iterator[Problem]:
    """Yield why a job can't learn from its own texts before it runs."""
    place, remedy = f"{file}: adapt", "Leave it out."
    if job.source.is_stream:
        yield Problem(place, "true", "needs a source that ends, and this one is a stream", remedy)
    if classifier is None:
        yield Problem(place, "true", "needs labels of the job's own, and its records bring them", remedy)
    elif classifier.mode == "multi" or len(classifier.labels) < 2:
        yield Problem(place, "true", "needs two or more labels, of which exactly one is right", remedy)
    elif classifier.learned is not None:
        yield Problem(place, "true", f"is not for {classifier.name}, which has been tuned", remedy)


def _conflicts(job: Job, file: Path) -> list[Problem]:
    """`cache: false` reads every record again, which is what these keys are there to avoid."""
    asked = {"dedup": job.dedup == "global", "only": job.only == "stale"}
    message, remedy = "can't be with cache: false, which reads every record again", "Leave one of them out."
    return [
        Problem(f"{file}: {name}", shown(getattr(job, name)), message, remedy)
        for name, wanted in asked.items()
        if wanted and job.cache is False
    ]


def _table_conflicts(job: Job, file: Path) -> list[Problem]:
    """What can't be with a table, or only with one."""
    outputs = {"output": job.output, "failures": job.failures_output}
    tables = {place: output for place, output in outputs.items() if isinstance(output, BigQueryOutput)}
    source = job.source if isinstance(job.source, BigQuerySource) else None
    merges = isinstance(job.output, BigQueryOutput) and job.output.write == "merge"
    wrong: list[tuple[str, str, str, str]] = []
    for place, output in tables.items():
        if job.source.is_stream and (output.write != "append" or output.method == "load"):
            message, remedy = "needs a source that ends", "Streams append by the Storage Write API: leave it out."
            wrong.append((place, output.method if output.write == "append" else output.write, message, remedy))
        if source is not None and source.table == output.table:
            wrong.append((f"{place}.table", output.table, "is the job's own source", "Name another table."))
    if "failures" in tables and tables["failures"].write == "merge":
        wrong.append(("failures.write", "merge", "is for results", "Failures are appended, or replaced."))
    if job.only == "stale" and isinstance(job.output, BigQueryOutput) and job.output.write == "append":
        wrong.append(("only", "stale", "would append rows that are there", "Set output.write: merge, or replace."))
    for name in ("max_rows", "max_tokens"):
        if getattr(job, name) is not None and not (merges and job.only == "stale" and job.dedup == "worker"):
            message = "needs a table to go on from: output.write: merge, only: stale and dedup: worker"
            wrong.append((name, str(getattr(job, name)), message, "Leave it out, or set them."))
    if source is not None and source.watermark is not None and not merges:
        message = "needs a table that says how far the last run came"
        wrong.append(("source.watermark", source.watermark, message, "Set output.write: merge, or leave it out."))
    return [Problem(f"{file}: {place}", shown(value), message, remedy) for place, value, message, remedy in wrong]


def _path_problems(job: Job, file: Path) -> list[Problem]:
    """Local paths only: what lies elsewhere is looked for when the job starts."""
    problems = []
    outputs = {"output": job.output, "failures": job.failures_output}
    folders = {name: output.path for name, output in outputs.items() if isinstance(output, FileOutput)}
    for path in job.source.path if isinstance(job.source, FileSource) else ():
        if is_url(path):
            continue
        found = [Path(match) for match in glob.iglob(path, recursive=True)]  # noqa: PTH207 - absolute patterns
        if not job.source.is_stream and not any(match.is_file() for match in found):
            remedy = "Relative paths start at the job file's folder."
            problems.append(Problem(f"{file}: source.path", shown(path, 200), "matches no file", remedy))
        for folder in folders.values():
            if any(match.is_relative_to(folder) for match in found) or (job.source.is_stream and _covers(path, folder)):
                message, remedy = f"matches files of the job's own output {folder}", "Write to another folder."
                problems.append(Problem(f"{file}: source.path", shown(path, 200), message, remedy))
    for name, folder in folders.items():
        if not is_url(folder) and Path(folder).is_file():
            problems.append(Problem(f"{file}: {name}.path", shown(folder, 200), "is a file", "Name a folder."))
    if job.failures_output is None:
        problems.append(Problem(f"{file}: failures", "", "is missing", "Say where rows go that fail."))
    elif job.failures_output.place.rstrip("/") == job.output.place.rstrip("/"):
        message = "is the same place as the output's"
        problems.append(Problem(f"{file}: failures", shown(job.output.place), message, "Name another one."))
    return problems


def _covers(pattern: str, folder: str) -> bool:
    """Whether a pattern will match the files of a folder once they are there."""
    above, recursive, _ = pattern.partition("**")
    return bool(recursive) and not glob.has_magic(above) and Path(folder).is_relative_to(above)


def need_end(job: Job) -> None:
    """For what looks at a whole source.

    Raises:
        JobError: the job's source is a stream.
    """
    if job.source.is_stream:
        remedy = "Give rows with their texts, or files, as in --set source={format: ndjson, path: sample.ndjson}."
        message = "is a stream, which has no end"
        raise JobError([Problem("source.format", job.source.format, message, remedy)])


def _stream_problems(job: Job, file: Path) -> list[Problem]:
    """What needs an end, of a job that has none."""
    if not job.source.is_stream:
        return []
    asked = {"dedup": job.dedup == "global", "only": job.only == "stale"}
    message = "needs a source that ends, and this one is a stream"
    remedy = "Leave it out: a stream reads no content twice that this process, or its cache, remembers."
    problems = [
        Problem(f"{file}: {name}", shown(getattr(job, name)), message, remedy)
        for name, wanted in asked.items()
        if wanted
    ]
    if isinstance(job.output, FileOutput) and isinstance(job.passthrough, list):
        message = "is what the folders of a stream's files are called"
        taken = [name for name in job.passthrough if name in ("date", "hour")]
        problems += [Problem(f"{file}: passthrough", name, message, "Rename the key.") for name in taken]
    for name in ("max_failure_ratio", "publish_anyway", "max_unreadable_files"):
        if getattr(job, name) != type(job).model_fields[name].default:
            remedy = "Leave it out: failures are in their own output while the stream runs."
            problems.append(Problem(f"{file}: {name}", shown(getattr(job, name)), message, remedy))
    return problems
