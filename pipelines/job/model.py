"""Job: the model of a job file. What each step needs of it, it gives as an object of its own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from classer_core.abstaining import Abstention
from classer_core.cache import parse_cache_url
from classer_core.classifiers import MAX_LABELS, Classifier
from classer_core.environment import FROM_ENVIRONMENT, is_reference, is_set
from classer_core.errors import JobError, Problem
from classer_core.fetching.rules import FetchRules
from classer_core.models.spec import JobModel, ModelSpec
from classer_core.records import OWN_FIELDS, REQUEST_FIELDS
from classer_core.requests import CLASSIFIER_FIELDS, RequestParser
from classer_core.saved import SavedClassifiers
from pipelines.job.alarm import Alarm
from pipelines.job.kinds import AnyOutput, AnySource
from pipelines.job.prices import Prices
from pipelines.limits import Limits
from pipelines.outputs import Output
from pipelines.outputs.files import FileOutput
from pipelines.requests import Requests
from pipelines.sections import Seconds, Section, check_fields, formats_of
from pipelines.selection import Selection
from pipelines.sources import BoundedSource, StreamSource


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
    scores: Annotated[int, Field(ge=1, le=MAX_LABELS)] | Literal["all"] | None = None
    priority: Literal["standard", "fast"] = "standard"
    # It is in no repr: what a job is made of without `parse_job` may be a URL with a password.
    cache: Annotated[bool | str, Field(repr=False)] = True
    dedup: Literal["worker", "global"] = "worker"
    only: Literal["all", "stale"] = "all"
    max_rows: Annotated[int, Field(gt=0)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    max_cost: Annotated[float, Field(gt=0, strict=False)] | None = None  # at `prices`
    prices: Prices | None = None
    model: JobModel = ModelSpec()
    visual_model: ModelSpec = ModelSpec()
    page_overflow: Literal["fail", "truncate"] = "fail"
    allow_paths: list[str] = Field(default_factory=list)
    allow_hosts: list[str] = Field(default_factory=list)
    allow_http: bool = False
    failures: AnyOutput | None = None  # a text is a folder; none: beside the output
    passthrough: bool | list[str] = True
    record_fields: list[str] = Field(default_factory=list)  # request fields that records may set, besides id and text
    alarm: Alarm | None = None
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
    def stream(self) -> StreamSource | None:
        """The source, if it is a stream."""
        return self.source if isinstance(self.source, StreamSource) and self.source.is_stream else None

    @property
    def bounded_source(self) -> BoundedSource:
        """The source, for what looks at a whole one.

        Raises:
            JobError: it is a stream.
        """
        if isinstance(self.source, BoundedSource) and not self.source.is_stream:
            return self.source
        remedy = "Give rows with their texts, or files, as in --set source={format: ndjson, path: sample.ndjson}."
        raise JobError([Problem("source.format", self.source.format, "is a stream, which has no end", remedy)])

    @property
    def failures_output(self) -> Output:
        """Where failures go: unless the job says it, beside the results. Checked when the job is loaded."""
        output = self.failures or self.output.failures
        if output is None:
            raise ValueError("a job comes from load_job or parse_job")
        return output

    @property
    def outputs(self) -> dict[str, Output]:
        """Key of the job -> output."""
        return {"output": self.output, "failures": self.failures_output}

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that rows are written to."""
        return tuple(output.folder for output in self.outputs.values() if output.folder is not None)

    @property
    def selection(self) -> Selection:
        """The columns that the job takes from its source."""
        passthrough = self.passthrough if isinstance(self.passthrough, bool) else tuple(self.passthrough)
        table = self.output.watermark_table
        return Selection(self.field_columns, tuple(self.record_fields), passthrough, table)

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

    def fetch_rules(self, folder: str) -> FetchRules:
        """Return the rules for what records of this job may reach; their relative paths start at `folder`."""
        return FetchRules(tuple(self.allow_paths), tuple(self.allow_hosts), self.allow_http, folder)

    @property
    def token_budget(self) -> int | None:
        """The tokens that one run may read, by `max_tokens` and `max_cost`."""
        given = [] if self.max_tokens is None else [self.max_tokens]
        if self.max_cost is not None and self.prices is not None:
            given.append(max(1, self.prices.tokens_for(self.max_cost)))
        return min(given, default=None)

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
        return fields | {"scores": self.scores, "cache": self.cache if isinstance(self.cache, bool) else True}

    @property
    def saved_classifiers(self) -> SavedClassifiers:
        """The saved classifiers as they were when the job was loaded."""
        if self._saved is None:
            raise ValueError("a job comes from load_job or parse_job")
        return self._saved

    @property
    def requests(self) -> Requests:
        """The parser of this job's rows, as its arguments."""
        return Requests(self.request_defaults, self.source.is_textual, self._saved)

    def request_parser(self, saved: SavedClassifiers | None = None) -> RequestParser:
        """Return what makes records of this job's rows.

        Args:
            saved: what saved classifiers mean; without it, what they meant when the job was loaded.
        """
        return self.requests.parser(saved)

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
