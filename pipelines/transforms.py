"""Classification inside a user's own Beam pipeline, in Python, of rows with a schema.

answers = records | ClassifyRecords(labels=["billing", "technical"])
answers.results | ...       answers.failures | ...
"""

# Beam's schemas come from types, not their names (no `from __future__ import annotations`), and `X | None` is none of
# the types it knows.
# ruff: noqa: UP045
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Optional, Self

import apache_beam as beam
import pyarrow as pa
from apache_beam.portability.api import schema_pb2
from apache_beam.typehints.arrow_type_compatibility import arrow_schema_from_beam_schema, beam_schema_from_arrow_schema
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.typehints.schemas import named_fields_from_schema, named_fields_to_schema, schema_from_element_type

from classer_core.abstaining import Abstention
from classer_core.cache import NO_CACHE
from classer_core.cached import load_cached_engine, with_cache
from classer_core.engine import Engine
from classer_core.environment import FROM_ENVIRONMENT, holds_password
from classer_core.fetching import FetchRules
from classer_core.models.spec import AnyModelSpec, ModelSpec
from classer_core.records import OWN_FIELDS, REQUEST_FIELDS
from classer_core.requests import RequestParser
from pipelines import classify
from pipelines.chunks import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    Chunk,
    ClassifiedChunk,
    SourceChunk,
    check_requests,
    content_id,
    output_schema,
)
from pipelines.fetch import FetchContents


class LabelConfidence(NamedTuple):
    """One label of a `mode: multi` answer."""

    label: str
    confidence: float


class FailedRecord(NamedTuple):
    """A record without an answer: why, and the record itself as JSON."""

    id: str
    stage: str
    code: str
    message: str
    field: Optional[str]
    record: Optional[str]
    attempted_at: str


RESULT_FIELDS: list[tuple[str, Any]] = [
    ("id", str),
    ("label", Optional[str]),
    ("labels", Optional[Sequence[LabelConfidence]]),
    ("confidence", Optional[float]),
    ("abstained", bool),
    ("tokens", int),
    ("visual_tokens", Optional[int]),
    ("latency_ms", float),
    ("cached", bool),
    ("classifier", str),
    ("model", str),
    ("coverage", float),
    ("evidence", Optional[str]),
    ("fingerprint", str),
]


class Answers(NamedTuple):
    """Rows of results and of failures, each a PCollection with a schema."""

    results: Any
    failures: Any


class ClassifyRecords(beam.PTransform[Any, Any]):
    """Classifies records, bounded or not: dicts, Beam rows, NamedTuples, or plain texts.

    Every record ends as one row of `results` or one `FailedRecord` of `failures`. Columns of records that have a
    schema follow in their result row; one that is named like a result column gets the prefix `input_`.

    Args:
        labels: what to choose from; without, each record brings its own (`record_fields`).
        descriptions: label -> what it means.
        examples: label -> texts that have it.
        text_type: what the texts are, as in "app review".
        mode: `single` or `multi`.
        threshold: of `multi`.
        min_confidence: answers below it abstain.
        fallback_label: the label of answers that abstain.
        scores: how many of the best labels the column `scores` lists with their confidences, or `all`.
        columns: request field -> column, where names differ, as in `{"text": "body"}`.
        record_fields: request fields that records may set, besides `id`, `text` and those in `columns`, as in
            `["labels", "image"]`. Name only what whoever writes the records may choose.
        passthrough: whether the records' columns follow in results, or which of them.
        model: `embedded`, `KIND:ID`, a bare ID, or a `ModelSpec`.
        visual_model: what looks at pictures and pages.
        page_overflow: `fail` or `truncate` documents that have too many pages.
        allow_paths: where paths in records may lead.
        allow_hosts: hosts that URLs in records may lead to whatever their address is; public ones they always may.
        allow_http: whether URLs may be without TLS.
        cache: URL of a cache that workers and runs share (`redis://...`), or `env:NAME`, a variable of theirs.
        threads: CPU threads of the model in each worker process (default: all cores).
        load: loads the engine, instead of one with these models.

    Raises:
        RecordError: wrong labels, descriptions, examples, mode or threshold.
    """

    def __init__(
        self,
        labels: Sequence[str] | None = None,
        *,
        descriptions: Mapping[str, str] | None = None,
        examples: Mapping[str, Sequence[str]] | None = None,
        text_type: str | None = None,
        mode: str | None = None,
        threshold: float | None = None,
        min_confidence: float | None = None,
        fallback_label: str | None = None,
        scores: int | str | None = None,
        columns: Mapping[str, str] | None = None,
        record_fields: Sequence[str] = (),
        passthrough: bool | Sequence[str] = True,
        model: str | AnyModelSpec = "embedded",
        visual_model: str | ModelSpec = "embedded",
        page_overflow: str = "fail",
        allow_paths: Sequence[str] = (),
        allow_hosts: Sequence[str] = (),
        allow_http: bool = False,
        cache: str = NO_CACHE,
        threads: int | None = None,
        load: Callable[[], Engine] | None = None,
    ) -> None:
        super().__init__()
        self._defaults = {
            "labels": None if labels is None else list(labels),
            "descriptions": None if descriptions is None else dict(descriptions),
            "examples": None if examples is None else {label: list(texts) for label, texts in examples.items()},
            "text_type": text_type,
            "mode": mode,
            "threshold": threshold,
            "scores": scores,
        }
        self._scored = RequestParser(self._defaults).scores > 0
        self._abstention = Abstention.of(min_confidence, fallback_label)
        for place, names in {"columns": columns or {}, "record_fields": record_fields}.items():
            if unknown := set(names) - set(REQUEST_FIELDS):
                known = ", ".join(REQUEST_FIELDS)
                raise ValueError(f"{place}: {sorted(unknown)} are not request fields. Known: {known}.")
        self._columns = {name: name for name in (*OWN_FIELDS, *record_fields)} | dict(columns or {})
        if labels is None and "labels" not in self._columns:
            raise ValueError("labels are missing: give labels, or record_fields=['labels'] if records bring their own")
        if holds_password(cache):
            remedy = f"set a variable where workers run, and give cache='{FROM_ENVIRONMENT}NAME'"
            raise ValueError(f"cache: holds a password, which would stand in the pipeline's graph: {remedy}")
        self._passthrough = passthrough
        self._rules = FetchRules(tuple(allow_paths), tuple(allow_hosts), allow_http, "")
        models = (model, visual_model, page_overflow)
        self._load = partial(with_cache, cache, load) if load else partial(load_cached_engine, cache, *models, threads)
        self._error_handler: Any = None

    def with_error_handler(self, error_handler: Any) -> Self:
        """Failures go to one of Beam's ErrorHandlers, and the results alone come out."""
        self._error_handler = error_handler
        return self

    def expand(self, records: Any) -> Any:
        """Batches inside each bundle; windows are kept."""
        passed = passed_columns(records.element_type, self._passthrough)
        classified = (
            records
            | "Batch" >> beam.BatchElements(CHUNK_ROWS, CHUNK_ROWS, element_size_fn=_share)
            | "Check" >> beam.ParDo(CheckRecords(self._defaults, self._columns, passed))
            | "FetchContents" >> beam.ParDo(FetchContents(self._rules))
            | "Classify" >> classify.ClassifyRecords(self._load, self._abstention, self._scored)
        )
        rows = beam.FlatMap(result_rows, self._scored).with_output_types(result_type(passed, self._scored))
        results = classified | "Results" >> rows
        failures = classified | "Failures" >> beam.FlatMap(failure_rows).with_output_types(FailedRecord)
        if self._error_handler is None:
            return Answers(results, failures)
        self._error_handler.add_error_pcollection(failures)
        return results


class CheckRecords(beam.DoFn):
    """Check lists of records and yield them as chunks of requests; `columns` is request field -> column."""

    def __init__(self, defaults: Mapping[str, Any], columns: Mapping[str, str], passed: pa.Schema) -> None:
        self._defaults = defaults
        self._columns = columns
        self._passed = passed

    def setup(self) -> None:
        """Make the parser, whose classifiers are shared by all records of a worker."""
        self._parser = RequestParser(self._defaults)

    def process(self, records: Sequence[Any]) -> Iterable[Chunk]:
        """Records that break a rule are in the chunk's `failures`."""
        found = [as_mapping(record) for record in records]
        fields = {
            name: [plain(record.get(column)) for record in found]
            for name, column in self._columns.items()
            if any(record.get(column) is not None for record in found)
        }
        rows = pa.RecordBatch.from_pylist(found, schema=self._passed)
        ids = [content_id(fields, row) for row in range(len(found))]
        yield check_requests(SourceChunk(ids, fields, rows), self._parser)


def as_mapping(record: Any) -> Mapping[str, Any]:
    """A record as column -> value; a text alone is the column `text`."""
    if isinstance(record, str):
        return {"text": record}
    if isinstance(record, Mapping):
        return record
    if isinstance(record, beam.Row):
        return dict(record.as_dict())
    if hasattr(record, "_asdict"):
        return dict(record._asdict())
    raise TypeError(f"a record is a dict, a beam.Row, a NamedTuple or a text, got {type(record).__name__}")


def _share(record: Any) -> int:
    """How many rows of a batch a record stands for: more than one if it is large."""
    size = 0
    for value in as_mapping(record).values():
        parts = value if isinstance(value, list | tuple) else (value,)
        size += sum(len(part) for part in parts if isinstance(part, str | bytes))
    return max(1, min(CHUNK_ROWS, size * CHUNK_ROWS // CHUNK_BYTES))


def plain(value: Any) -> Any:
    """A row's value as JSON has it: sequences and mappings of any kind become lists and dicts."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value


def passed_columns(element_type: Any, passthrough: bool | Sequence[str]) -> pa.Schema:
    """The columns that follow in results: all of a schema's, some, or none.

    Raises:
        ValueError: a column is not there, or has a type that can't follow.
    """
    try:
        schema = schema_from_element_type(element_type)
    except TypeError:
        schema = named_fields_to_schema([])  # dicts and texts: nobody knows their columns before they come
    names = [item.name for item in schema.fields]
    wanted = names if passthrough is True else list(passthrough or [])
    if unknown := [name for name in wanted if name not in names]:
        known = ", ".join(names) or "none (give the records a schema: beam.Row or a NamedTuple)"
        raise ValueError(f"passthrough: {unknown} are not columns of the records. They have: {known}.")
    kept = [item for item in schema.fields if item.name in wanted]
    for item in kept:
        if item.type.WhichOneof("type_info") in ("row_type", "map_type", "logical_type"):
            remedy = f"passthrough={[name for name in wanted if name != item.name]}"
            raise ValueError(f"column {item.name!r} is not of a plain type and can't follow: give {remedy}.")
    found = arrow_schema_from_beam_schema(schema_pb2.Schema(fields=kept))
    return pa.schema([item.remove_metadata() for item in found])


def result_type(passed: pa.Schema, scored: bool = False) -> RowTypeConstraint:
    """The type of result rows: the result's fields, then the passed ones."""
    own = [*RESULT_FIELDS, *([("scores", dict(RESULT_FIELDS)["labels"])] if scored else [])]
    beam_schema = beam_schema_from_arrow_schema(output_schema(passed, scored))
    return RowTypeConstraint.from_fields([*own, *named_fields_from_schema(beam_schema)[len(own) :]])


def result_rows(chunk: ClassifiedChunk, scored: bool = False) -> Iterable[beam.Row]:
    """The rows of a chunk's results."""
    for row in chunk.results.to_pylist():
        for name in ("labels", "scores")[: 1 + scored]:
            row[name] = row[name] and [LabelConfidence(**item) for item in row[name]]
        yield beam.Row(**row)


def failure_rows(chunk: ClassifiedChunk) -> Iterable[FailedRecord]:
    """The rows of a chunk's failures."""
    return map(failed_record, chunk.failures.to_pylist())


def failed_record(row: Mapping[str, Any]) -> FailedRecord:
    """A row of `FAILURE_SCHEMA` as Beam has it: its time is text, which every sink takes."""
    return FailedRecord(**{**row, "attempted_at": row["attempted_at"].isoformat()})
