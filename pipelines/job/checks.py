"""Check a job as a whole, beyond its keys and values one by one."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from classer_core.classifiers import Classifier, shown
from classer_core.errors import Problem, RecordError
from classer_core.extras import missing_extra
from classer_core.filesystems import is_url
from classer_core.models import EMBEDDED
from classer_core.models.visual import NONE
from pipelines.job.model import Job
from pipelines.outputs import Mistake


def problems_of(job: Job, file: Path) -> list[Problem]:
    """Everything that can be known without looking beyond this machine."""
    problems = _classifier_problems(job, file)
    if job.failures is None and job.output.failures is None:
        return [*problems, Problem(f"{file}: failures", "", "is missing", "Say where rows go that fail.")]
    conflicts = (
        Problem(f"{file}: {mistake.key}", shown(mistake.value), mistake.message, mistake.remedy)
        for mistake in _output_conflicts(job)
    )
    return [
        *problems,
        *_path_problems(job, file),
        *_conflicts(job, file),
        *conflicts,
        *_stream_problems(job, file),
        *_extra_problems(job, file),
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


def _extra_problems(job: Job, file: Path) -> Iterator[Problem]:
    """Yield the features of the job whose libraries are not installed."""
    attached = ["source.format"] if job.source.own_files else []
    attached += [f"source.columns.{field}" for field in ("file", "image") if job.column_of(field) is not None]
    if not attached:
        return
    needs = [(attached[0], "attachments", "documents")]
    if (visual := job.visual_model.id) != NONE:
        needs.append(("visual_model", visual, "vision" if visual == EMBEDDED else "models"))
    for place, value, extra in needs:
        if problem := missing_extra(f"{file}: {place}", shown(value), extra):
            yield problem


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


def _output_conflicts(job: Job) -> Iterator[Mistake]:
    """Yield what can't be with an output, or only with one."""
    for section, output in job.outputs.items():
        yield from output.mistakes(section, job.source.is_stream)
        if output.place == job.source.place:
            key = f"{section}.{output.place_key}"
            yield Mistake(key, output.place, "is the job's own source", f"Name another {output.place_key}.")
    merges = bool(job.output.merge_key)
    if job.only == "stale" and not job.output.is_readable:
        yield Mistake("only", "stale", "needs an output whose rows can be read back", "Leave it out.")
    elif job.only == "stale" and not job.output.replaces:
        yield Mistake("only", "stale", "would append rows that are there", "Set output.write: merge, or replace.")
    if job.alarm is not None and job.alarm.reference is not None and job.output.folder is None:
        message = "needs an output of files, which a run replaces"
        yield Mistake("alarm.reference", job.alarm.reference, message, "Leave it out.")
    if job.max_cost is not None and job.prices is None:
        yield Mistake(
            "max_cost", str(job.max_cost), "needs prices", "Set prices.tokens: the price of a million tokens."
        )
    for name in ("max_rows", "max_tokens", "max_cost"):
        if getattr(job, name) is not None and not (merges and job.only == "stale" and job.dedup == "worker"):
            message = "needs a table to go on from: output.write: merge, only: stale and dedup: worker"
            yield Mistake(name, str(getattr(job, name)), message, "Leave it out, or set them.")
    if (watermark := job.source.watermark_column) is not None and not merges:
        message = "needs a table that says how far the last run came"
        yield Mistake("source.watermark", watermark, message, "Set output.write: merge, or leave it out.")


def _path_problems(job: Job, file: Path) -> list[Problem]:
    """Local paths only: what lies elsewhere is looked for when the job starts."""
    problems = []
    folders = {name: output.folder for name, output in job.outputs.items() if output.folder is not None}
    for path in job.source.patterns:
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
    if job.failures_output.place.rstrip("/") == job.output.place.rstrip("/"):
        message = "is the same place as the output's"
        problems.append(Problem(f"{file}: failures", shown(job.output.place), message, "Name another one."))
    return problems


def _covers(pattern: str, folder: str) -> bool:
    """Whether a pattern will match the files of a folder once they are there."""
    above, recursive, _ = pattern.partition("**")
    return bool(recursive) and not glob.has_magic(above) and Path(folder).is_relative_to(above)


def _stream_problems(job: Job, file: Path) -> list[Problem]:
    """Return the problems of settings that need a source that ends, where it does not."""
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
    if job.output.folder is not None and isinstance(job.passthrough, list):
        message = "is what the folders of a stream's files are called"
        taken = [name for name in job.passthrough if name in ("date", "hour")]
        problems += [Problem(f"{file}: passthrough", name, message, "Rename the key.") for name in taken]
    for name in ("max_failure_ratio", "publish_anyway", "max_unreadable_files", "alarm"):
        if getattr(job, name) != type(job).model_fields[name].default:
            remedy = "Leave it out: failures are in their own output while the stream runs."
            problems.append(Problem(f"{file}: {name}", shown(getattr(job, name)), message, remedy))
    return problems
