"""Job files: read, changed by `--set`, and checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from classer_core.classifiers import shown
from classer_core.errors import JobError, Problem
from classer_core.filesystems import is_url
from classer_core.models.spec import CascadeSpec, GuaranteeSpec, ModelSpec
from classer_core.saved import ClassifierStore
from classer_core.storage_errors import as_problem
from pipelines.job.checks import problems_of
from pipelines.job.kinds import AnyOutput, AnySource
from pipelines.job.model import Job
from pipelines.job.secrets import override_key, secret_problems, shown_safely
from pipelines.sections import formats_of, nearest

# What PyYAML raises: its own errors, and others for a value that looks like a date and is not one.
YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError)


def _by_format(kinds: Any) -> dict[str, type[BaseModel]]:
    """Return format -> class, of a union of sections."""
    members = get_args(get_args(kinds)[0])
    return {format: member for member in members for format in formats_of(member)}


SECTIONS: dict[str, dict[str, type[BaseModel]]] = {
    "source": _by_format(AnySource),
    "output": _by_format(AnyOutput),
    "failures": _by_format(AnyOutput),
    "model": {"one": ModelSpec, "cascade": CascadeSpec},
}


class _UniqueKeys(yaml.SafeLoader):
    """YAML as it is, but a key that is there twice is an error: the first one would go without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> Job:
    """Return the checked job of a file, with `dotted.key=value` overrides; its paths are absolute.

    Raises:
        JobError: with every problem found, each with its place, value and remedy.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        remedy = "Give the path of a job file; configs/demo.yaml is one."
        raise JobError([Problem(str(file), "", f"can't be read: {error}", remedy)]) from error
    return parse_job(document_of(text, str(file), overrides), file)


def document_of(text: str, place: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the mapping that a job file's text holds, with `dotted.key=value` overrides.

    Raises:
        JobError: it is not YAML or not a mapping, or one of the overrides is not of this form.
    """
    try:
        document = yaml.load(text, _UniqueKeys)
    except YAML_ERRORS as error:
        message = f"is not YAML: {_reason(error)}"
        raise JobError([Problem(place, "", message, "Correct the line named above.")]) from None
    if not isinstance(document, dict):
        raise JobError([Problem(place, "", "is not a mapping", "A job starts with `source:`.")])
    for override in overrides:
        _apply(document, override)
    return document


def parse_job(document: Mapping[str, Any], file: Path) -> Job:
    """Return the checked job of a mapping; relative paths are relative to `file`.

    Raises:
        JobError: with every problem found.
    """
    try:
        job = Job.model_validate(document)
    except ValidationError as error:
        raise JobError([_problem(item, file) for item in error.errors()]) from None  # it repeats values, secrets too
    if problems := secret_problems(job, file):
        raise JobError(problems)
    job = _with_absolute_paths(job, file.resolve().parent)
    with as_problem(f"{file}: classifiers", job.classifiers):
        job._saved = ClassifierStore(job.classifiers).list()
    if problems := problems_of(job, file):
        raise JobError(problems)
    return job


def _reason(error: Exception) -> str:
    """Return what is wrong with a text and in which line, without the line itself: it may hold a password."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return f"{getattr(error, 'problem', None) or type(error).__name__}{place}"


def _apply(document: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key.strip():
        message, remedy = "is not dotted.key=value", "Example: --set output.path=out/rows"
        problem = Problem("--set", shown(override_key(override)), message, remedy)
        raise JobError([problem])
    *parents, last = key.strip().split(".")
    target: Any = document
    for parent in parents:
        target = target.setdefault(parent, {})
        if not isinstance(target, dict):
            message = f"{parent} holds a value, not keys"
            raise JobError([Problem("--set", shown(f"{key}=…"), message, "Set it whole.")])
    try:
        target[last] = yaml.safe_load(value)
    except YAML_ERRORS:
        message = "the value is not YAML"
        raise JobError([Problem("--set", shown(f"{key}=…"), message, "Quote it, as in a job file.")]) from None


def _problem(item: Any, file: Path) -> Problem:
    """Return one of pydantic's errors as a problem; the location of a section's key names its format too."""
    parts = [str(part) for part in item["loc"]]
    section: type[BaseModel] = ModelSpec if parts[:1] == ["visual_model"] else Job
    value, kind = item["input"], item["type"]
    if parts and (kinds := SECTIONS.get(parts[0])):
        if len(parts) > 1 and parts[1] in kinds:
            section = kinds[parts.pop(1)]
            if section is CascadeSpec and len(parts) > 2:
                section = GuaranteeSpec if parts[1] == "guarantee" else ModelSpec
        elif kind.startswith("union_tag"):
            parts.append("format")
            value = value.get("format") if isinstance(value, Mapping) else value
            if kind == "union_tag_not_found":
                kind = "missing"
    key = ".".join(parts)
    place, value = f"{file}: {key or '(top)'}", shown_safely(key, value)
    if kind == "extra_forbidden":
        return Problem(place, value, "is an unknown key", nearest(parts[-1], section.model_fields))
    if kind == "missing":
        return Problem(place, "", "is missing", f"Add `{parts[-1]}:`.")
    if kind == "union_tag_invalid":
        return Problem(place, value, f"is none of {', '.join(SECTIONS[parts[0]])}", "Correct the value.")
    message = item["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return Problem(place, value, message.rstrip("."), "Correct the value.")


def _with_absolute_paths(job: Job, folder: Path) -> Job:
    """Return the job with its paths starting at its file's folder."""

    def absolute(path: str) -> str:
        return path if is_url(path) else str(folder / Path(path).expanduser())

    source, output = job.source.located(absolute), job.output.located(absolute)
    failures = job.failures.located(absolute) if job.failures else None
    allowed = [absolute(path) for path in job.allow_paths]
    cache = job.cache
    if isinstance(cache, str) and cache.startswith("sqlite:///"):
        cache = "sqlite:///" + absolute(cache.removeprefix("sqlite:///"))
    changed = {"source": source, "output": output, "failures": failures, "allow_paths": allowed, "cache": cache}
    alarm = job.alarm.located(absolute) if job.alarm else None
    return job.model_copy(update={**changed, "alarm": alarm, "classifiers": absolute(job.classifiers)})
