"""The job file: what is read, how it is classified, where the rows go. Checked here, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, PrivateAttr, ValidationError, field_validator, model_validator

from classer_core.abstaining import Abstention
from classer_core.cache import parse_cache_url
from classer_core.classifiers import Classifier, shown
from classer_core.environment import FROM_ENVIRONMENT, is_reference, is_set
from classer_core.errors import JobError, Problem
from classer_core.fetching.rules import FetchRules
from classer_core.records import OWN_FIELDS, REQUEST_FIELDS
from classer_core.requests import CLASSIFIER_FIELDS, RequestParser
from classer_core.saved import ClassifierStore, SavedClassifiers
from classer_core.storage import is_url
from classer_core.storage_errors import as_problem
from pipelines.job.checks import problems_of
from pipelines.job.secrets import override_key, secret_problems, shown_safely
from pipelines.job.sections import (
    OUTPUTS,
    SOURCES,
    UNKNOWN_FORMAT,
    AnyOutput,
    AnySource,
    BigQueryOutput,
    FileOutput,
    Seconds,
    Section,
    check_fields,
    formats_of,
    nearest,
)
from pipelines.limits import Limits

# What PyYAML raises: its own errors, and others for a value that looks like a date and is not one.
YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError)
SECTIONS = {kind.__name__: kind for kind in (*SOURCES, *OUTPUTS)}


class _UniqueKeys(yaml.SafeLoader):
    """YAML as it is, but a key that is there twice is an error: the first one would go without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


class Job(Section):
    """A whole job. A request field set here holds for all records that do not set it, or may not."""

    source: AnySource
    output: AnyOutput
    classifier: str | None = None
    classifiers: Annotated[str, Field(min_length=1)] = "classifiers"  # the folder that saved ones are in
    labels: list[str] | None = None
    descriptions: dict[str, str] | None = None
    examples: dict[str, list[str]] | None = None
    text_type: str | None = None
    mode: Literal["single", "multi"] | None = None
    threshold: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    adapt: bool = False
    min_confidence: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    fallback_label: str | None = None
    priority: Literal["standard", "fast"] = "standard"
    # It is in no repr: what a job is made of without `parse_job` may be a URL with a password.
    cache: Annotated[bool | str, Field(repr=False)] = True
    dedup: Literal["worker", "global"] = "worker"
    only: Literal["all", "stale"] = "all"
    max_rows: Annotated[int, Field(gt=0)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    model: Annotated[str, Field(min_length=1)] = "embedded"
    visual_model: Annotated[str, Field(min_length=1)] = "embedded"
    page_overflow: Literal["fail", "truncate"] = "fail"
    allow_paths: list[str] = Field(default_factory=list)
    allow_hosts: list[str] = Field(default_factory=list)
    allow_http: bool = False
    failures: AnyOutput | None = None  # a text is a folder; none: beside the output
    passthrough: bool | list[str] = True
    record_fields: list[str] = Field(default_factory=list)  # request fields that records may set, besides id and text
    max_failure_ratio: Annotated[float, Field(ge=0, le=1, strict=False)] = 1.0
    publish_anyway: bool = False  # although more records have failed than max_failure_ratio allows
    max_unreadable_files: Annotated[int, Field(ge=0)] = 0
    refresh: Seconds = 60.0  # of a stream: how often new versions of saved classifiers are looked for
    _saved: SavedClassifiers | None = PrivateAttr(default=None)

    @field_validator("cache")
    @classmethod
    def _known_cache(cls, value: bool | str) -> bool | str:
        if value == FROM_ENVIRONMENT:
            raise ValueError("env: names no variable")
        # A variable may be known to the workers alone.
        if isinstance(value, str) and (not is_reference(value) or is_set(value)):
            parse_cache_url(value)
        return value

    @field_validator("record_fields")
    @classmethod
    def _known_fields(cls, value: list[str]) -> list[str]:
        check_fields(value)
        return value

    @model_validator(mode="before")
    @classmethod
    def _failures_folder(cls, document: Any) -> Any:
        if isinstance(document, dict) and isinstance(folder := document.get("failures"), str):
            output = document.get("output")
            format = output.get("format") if isinstance(output, dict) else None
            own = {"format": format} if format in formats_of(FileOutput) else {}
            return {**document, "failures": {"path": folder, **own}}
        return document

    @property
    def failures_output(self) -> Any:
        """Where failure rows go: unless the job says it, a folder or a table beside the one of the results."""
        if self.failures is None and isinstance(self.output, FileOutput):
            return self.output.model_copy(update={"path": self.output.path.rstrip("/") + "-failures"})
        if self.failures is None and isinstance(self.output, BigQueryOutput):
            # A merge leaves rows of other runs where they are; so do its failures.
            write = "replace" if self.output.write == "replace" else "append"
            table = f"{self.output.table}_failures"
            fields = self.output.model_dump(exclude_unset=True, exclude={"key", "table", "write"})
            return BigQueryOutput(table=table, write=write, **fields)
        return self.failures

    def column_of(self, field: str) -> str | None:
        """The column that holds a request field; None where records may not set it.

        `id` and `text` are always taken from records. Any other field is taken only where `source.columns` maps it or
        `record_fields` names it: whoever writes a record must not choose how it is judged.
        """
        allowed = field in OWN_FIELDS or field in self.record_fields
        return self.source.columns.get(field, field if allowed else None)

    @property
    def field_columns(self) -> dict[str, str]:
        """Request field -> column, of all fields that records may set."""
        columns = {field: self.column_of(field) for field in REQUEST_FIELDS}
        return {field: column for field, column in columns.items() if column is not None}

    @property
    def own_files(self) -> tuple[str, ...]:
        """The patterns of the files that are records themselves; none, unless the source is documents."""
        return self.source.path if self.source.format == "documents" else ()

    def fetch_rules(self, folder: str) -> FetchRules:
        """What records of this job may reach; their relative paths start at `folder`."""
        return FetchRules(tuple(self.allow_paths), tuple(self.allow_hosts), self.allow_http, folder)

    @property
    def limits(self) -> Limits:
        """How much of a run may fail, before its rows stay unpublished."""
        return Limits(self.max_failure_ratio, self.max_unreadable_files, self.publish_anyway)

    @property
    def abstention(self) -> Abstention:
        """When this job rather gives no answer."""
        return Abstention.of(self.min_confidence, self.fallback_label)

    @property
    def request_defaults(self) -> dict[str, Any]:
        """Request field -> the job's value."""
        fields = {name: getattr(self, name) for name in (*CLASSIFIER_FIELDS, "priority")}
        return fields | {"cache": self.cache if isinstance(self.cache, bool) else True}

    @property
    def saved_classifiers(self) -> SavedClassifiers:
        """The saved classifiers as they were when the job was loaded."""
        if self._saved is None:
            raise ValueError("a job comes from load_job or parse_job")
        return self._saved

    def request_parser(self, saved: SavedClassifiers | None = None) -> RequestParser:
        """What makes records of this job's rows.

        Args:
            saved: what saved classifiers mean; without it, what they meant when the job was loaded.
        """
        textual = self.source.format == "csv"
        return RequestParser(self.request_defaults, textual=textual, saved=saved or self._saved)

    def spelled_out(self) -> Job:
        """The job with what its saved classifier says in its own fields: to be looked at, not to be run."""
        classifier = self.request_parser().classifier
        if self.classifier is None or classifier is None:
            return self
        fields = {"labels": list(classifier.labels), "mode": classifier.mode, "threshold": classifier.threshold}
        return self.model_copy(update={**fields, "classifier": None})

    def asking(self, classifier: Classifier, saved: SavedClassifiers) -> Job:
        """Return the job with one of the `saved` classifiers in place of its own labels."""
        job = self.model_copy(update={"classifier": classifier.saved_as, "labels": None, "adapt": False})
        job._saved = saved
        return job

    def saved_classifier(self, reference: str) -> Classifier:
        """A classifier of the job's folder.

        Raises:
            RecordError: there is no such name or version.
        """
        return self.saved_classifiers.load(reference)


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> Job:
    """A job file and `dotted.key=value` overrides in, the checked job out; its paths are absolute.

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
    """A job file's text and `dotted.key=value` overrides in, the job's mapping out.

    Raises:
        JobError: it is not YAML or no mapping, or one of the overrides is not of this form.
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
    """A job's mapping in, the checked job out; relative paths are relative to `file`.

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
    """One of pydantic's errors; its location names the class of a section too, which nobody wrote."""
    parts = [str(part) for part in item["loc"]]
    section: type[BaseModel] = Job
    if len(parts) > 1 and (kind := SECTIONS.get(parts[1])):
        section = kind
        del parts[1]
    if item["type"] == UNKNOWN_FORMAT:
        item = {**item, "input": item["input"]["format"]}
        parts.append("format")
    key = ".".join(parts)
    place, value = f"{file}: {key or '(top)'}", shown_safely(key, item["input"])
    if item["type"] == "extra_forbidden":
        return Problem(place, value, "is an unknown key", nearest(parts[-1], section.model_fields))
    if item["type"] == "missing":
        return Problem(place, "", "is missing", f"Add `{parts[-1]}:`.")
    message = item["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return Problem(place, value, message.rstrip("."), "Correct the value.")


def _with_absolute_paths(job: Job, folder: Path) -> Job:
    def absolute(path: str) -> str:
        return path if is_url(path) else str(folder / Path(path).expanduser())

    source, output = job.source.located(absolute), job.output.located(absolute)
    failures = job.failures.located(absolute) if job.failures else None
    allowed = [absolute(path) for path in job.allow_paths]
    cache = job.cache
    if isinstance(cache, str) and cache.startswith("sqlite:///"):
        cache = "sqlite:///" + absolute(cache.removeprefix("sqlite:///"))
    changed = {"source": source, "output": output, "failures": failures, "allow_paths": allowed, "cache": cache}
    return job.model_copy(update={**changed, "classifiers": absolute(job.classifiers)})
