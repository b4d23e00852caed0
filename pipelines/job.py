"""The job file: what is read, how it is classified, where the rows go. Checked here, before anything runs."""

from __future__ import annotations

import difflib
import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from classer_core.abstaining import Abstention
from classer_core.cache import parse_cache_url
from classer_core.classifiers import Classifier, shown
from classer_core.errors import JobError, Problem, RecordError
from classer_core.fetching.rules import FetchRules, redacted
from classer_core.records import REQUEST_FIELDS
from classer_core.requests import CLASSIFIER_FIELDS, RequestParser
from classer_core.saved import ClassifierStore, SavedClassifiers

_URL = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class _UniqueKeys(yaml.SafeLoader):
    """YAML as it is, but a key that is there twice is an error: the first one would go without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Source(_Section):
    """Where records come from. `columns` maps request field -> column of the source.

    Without `columns`, a column named like a request field is that field. With it, only the columns it names are,
    besides `id` and `text`.
    """

    format: Literal["ndjson", "csv", "parquet", "documents"]
    path: Annotated[tuple[str, ...], Field(min_length=1)]
    columns: dict[str, str] | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","  # of CSV

    @field_validator("path", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value

    @field_validator("columns")
    @classmethod
    def _known_fields(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for name in value or {}:
            if name not in REQUEST_FIELDS:
                raise ValueError(f"{name!r} is no request field. {_nearest(name, REQUEST_FIELDS)}")
        return value

    def column_of(self, field: str) -> str | None:
        """The column that holds a request field, if the source has one."""
        if self.columns is None:
            return field
        return self.columns.get(field, field if field in ("id", "text") else None)


class Output(_Section):
    """Where results go: a folder of Parquet or NDJSON files."""

    format: Literal["parquet", "ndjson"] = "parquet"
    path: Annotated[str, Field(min_length=1)]


class Job(_Section):
    """A whole job. Any request field set here holds for records that have none of their own."""

    source: Source
    output: Output
    classifier: str | None = None
    classifiers: Annotated[str, Field(min_length=1)] = "classifiers"  # the folder that saved ones are in
    labels: list[str] | None = None
    descriptions: dict[str, str] | None = None
    examples: dict[str, list[str]] | None = None
    text_type: str | None = None
    mode: Literal["single", "multi"] | None = None
    threshold: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    min_confidence: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    fallback_label: str | None = None
    priority: Literal["standard", "fast"] = "standard"
    # A URL may hold a password: it is in no repr and no message.
    cache: Annotated[bool | str, Field(repr=False)] = True
    dedup: Literal["worker", "global"] = "worker"
    only: Literal["all", "stale"] = "all"
    model: Annotated[str, Field(min_length=1)] = "embedded"
    visual_model: Annotated[str, Field(min_length=1)] = "embedded"
    page_overflow: Literal["fail", "truncate"] = "fail"
    allow_paths: list[str] = []
    allow_hosts: list[str] = []
    allow_http: bool = False
    failures: str | None = None
    passthrough: bool | list[str] = True
    max_failure_ratio: Annotated[float, Field(ge=0, le=1, strict=False)] = 1.0
    _saved: SavedClassifiers | None = PrivateAttr(default=None)

    @field_validator("cache")
    @classmethod
    def _known_cache(cls, value: bool | str) -> bool | str:
        if isinstance(value, str):
            parse_cache_url(value)
        return value

    @property
    def failures_path(self) -> str:
        """The folder of the failure rows."""
        return self.failures or self.output.path.rstrip("/") + "-failures"

    def fetch_rules(self, folder: str) -> FetchRules:
        """What records of this job may reach; their relative paths start at `folder`."""
        return FetchRules(tuple(self.allow_paths), tuple(self.allow_hosts), self.allow_http, folder)

    @property
    def abstention(self) -> Abstention:
        """When this job rather gives no answer."""
        return Abstention.of(self.min_confidence, self.fallback_label)

    @property
    def request_defaults(self) -> dict[str, Any]:
        """Request field -> the job's value."""
        fields = {name: getattr(self, name) for name in (*CLASSIFIER_FIELDS, "priority")}
        return fields | {"cache": self.cache if isinstance(self.cache, bool) else True}

    def request_parser(self) -> RequestParser:
        """What makes records of this job's rows; saved classifiers mean what they meant when the job was loaded."""
        return RequestParser(self.request_defaults, textual=self.source.format == "csv", saved=self._saved)

    def spelled_out(self) -> Job:
        """The job with what its saved classifier says in its own fields: to be looked at, not to be run."""
        classifier = self.request_parser().classifier
        if self.classifier is None or classifier is None:
            return self
        fields = {"labels": list(classifier.labels), "mode": classifier.mode, "threshold": classifier.threshold}
        return self.model_copy(update={**fields, "classifier": None})

    def saved_classifier(self, reference: str) -> Classifier:
        """A classifier of the job's folder.

        Raises:
            RecordError: there is no such name or version.
        """
        if self._saved is None:
            raise ValueError("a job comes from load_job or parse_job")
        return self._saved.load(reference)


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
    except yaml.YAMLError as error:
        raise JobError([Problem(place, "", f"is not YAML: {error}", "Correct the line named above.")]) from error
    if not isinstance(document, dict):
        raise JobError([Problem(place, shown(document), "is not a mapping", "A job starts with `source:`.")])
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
    job = _with_absolute_paths(job, file.resolve().parent)
    try:
        job._saved = ClassifierStore(job.classifiers).list()
    except (OSError, ValueError, ImportError) as error:
        message = f"can't be listed: {type(error).__name__}: {error}"
        problem = Problem(f"{file}: classifiers", redacted(job.classifiers), message, "Correct the folder.")
        raise JobError([problem]) from error
    if problems := [*_classifier_problems(job, file), *_path_problems(job, file), *_conflicts(job, file)]:
        raise JobError(problems)
    return job


def _apply(document: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key.strip():
        problem = Problem("--set", shown(override), "is not dotted.key=value", "Example: --set output.path=out/rows")
        raise JobError([problem])
    *parents, last = key.strip().split(".")
    target: Any = document
    for parent in parents:
        target = target.setdefault(parent, {})
        if not isinstance(target, dict):
            raise JobError([Problem("--set", shown(override), f"{parent} holds a value, not keys", "Set it whole.")])
    try:
        target[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        message = "the value is not YAML"
        raise JobError([Problem("--set", shown(f"{key}=…"), message, "Quote it, as in a job file.")]) from None


def _problem(item: Any, file: Path) -> Problem:
    parts = [str(part) for part in item["loc"]]
    place = f"{file}: {'.'.join(parts) or '(top)'}"
    if item["type"] == "extra_forbidden":
        section: type[BaseModel] = {"source": Source, "output": Output}.get(parts[0], Job) if len(parts) > 1 else Job
        return Problem(place, shown(item["input"]), "is an unknown key", _nearest(parts[-1], section.model_fields))
    if item["type"] == "missing":
        return Problem(place, "", "is missing", f"Add `{parts[-1]}:`.")
    message = item["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    value = item["input"]
    shown_value = redacted(value) if isinstance(value, str) else shown(value)
    return Problem(place, shown_value, message.rstrip("."), "Correct the value.")


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."


def _with_absolute_paths(job: Job, folder: Path) -> Job:
    def absolute(path: str) -> str:
        return path if _URL.match(path) else str(folder / Path(path).expanduser())

    source = job.source.model_copy(update={"path": tuple(map(absolute, job.source.path))})
    output = job.output.model_copy(update={"path": absolute(job.output.path)})
    failures = absolute(job.failures) if job.failures else None
    allowed = [absolute(path) for path in job.allow_paths]
    cache = job.cache
    if isinstance(cache, str) and cache.startswith("sqlite:///"):
        cache = "sqlite:///" + absolute(cache.removeprefix("sqlite:///"))
    changed = {"source": source, "output": output, "failures": failures, "allow_paths": allowed, "cache": cache}
    return job.model_copy(update={**changed, "classifiers": absolute(job.classifiers)})


def _classifier_problems(job: Job, file: Path) -> list[Problem]:
    given = [job.labels, job.classifier, job.source.column_of("labels"), job.source.column_of("classifier")]
    if not any(value is not None for value in given):
        message = "labels are missing: neither the job nor a column has them"
        remedy = "Add `labels:`, `classifier:`, or `source.columns.labels`."
        return [Problem(f"{file}: labels", "", message, remedy)]
    try:
        _ = job.abstention
        job.request_parser()
    except RecordError as error:
        field = error.field or "labels"
        value = shown(getattr(job, field))
        return [Problem(f"{file}: {field}", value, error.message, f"Correct `{field}:`.")]
    return []


def _conflicts(job: Job, file: Path) -> list[Problem]:
    """`cache: false` reads every record again, which is what these keys are there to avoid."""
    asked = {"dedup": job.dedup == "global", "only": job.only == "stale"}
    message, remedy = "can't be with cache: false, which reads every record again", "Leave one of them out."
    return [
        Problem(f"{file}: {name}", shown(getattr(job, name)), message, remedy)
        for name, wanted in asked.items()
        if wanted and job.cache is False
    ]


def _path_problems(job: Job, file: Path) -> list[Problem]:
    """Local paths only: what lies elsewhere is looked for when the job starts."""
    problems = []
    for path in job.source.path:
        if _URL.match(path):
            continue
        found = [Path(match) for match in glob.iglob(path, recursive=True)]  # noqa: PTH207 - absolute patterns
        if not any(match.is_file() for match in found):
            remedy = "Relative paths start at the job file's folder."
            problems.append(Problem(f"{file}: source.path", shown(path, 200), "matches no file", remedy))
        for folder in (job.output.path, job.failures_path):
            if any(match.is_relative_to(folder) for match in found):
                message, remedy = f"matches files of the job's own output {folder}", "Write to another folder."
                problems.append(Problem(f"{file}: source.path", shown(path, 200), message, remedy))
    for place, path in (("output.path", job.output.path), ("failures", job.failures_path)):
        if not _URL.match(path) and Path(path).is_file():
            problems.append(Problem(f"{file}: {place}", shown(path, 200), "is a file", "Name a folder for the rows."))
    if Path(job.output.path) == Path(job.failures_path):
        message = "is the same folder as output.path"
        problems.append(Problem(f"{file}: failures", shown(job.failures), message, "Name another folder."))
    return problems
