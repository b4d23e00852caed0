"""Record, Answer, Result and Failure, and the Arrow schemas of results and failures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from classer_core.classifiers import Classifier
from classer_core.contents import Attachment
from classer_core.errors import FailureCode, RecordError

REQUEST_FIELDS = (
    "id",
    "text",
    "image",
    "file",
    "labels",
    "classifier",
    "descriptions",
    "examples",
    "text_type",
    "priority",
    "cache",
    "mode",
    "threshold",
)
# The request fields that records supply by default. The others decide how a record is classified, or make the worker
# fetch something: records supply them only if the job says so.
OWN_FIELDS = ("id", "text")
PRIORITIES = ("standard", "fast")


@dataclass(slots=True)
class Record:
    """A request whose fields have been checked.

    Attributes:
        id: unique within a job, if the source's ids are.
        text: empty if there are only attachments.
        classifier: labels and settings.
        priority: "standard" or "fast".
        cache: whether a cached answer may be used.
        attachments: pictures and documents.
        fetch_ms: milliseconds that fetching the attachments took.
        scores: number of labels whose confidences the answer lists, best first; 0 for none.
    """

    id: str
    text: str
    classifier: Classifier
    priority: str = "standard"
    cache: bool = True
    attachments: tuple[Attachment, ...] = ()
    fetch_ms: float = 0.0
    scores: int = 0

    @property
    def scores_listed(self) -> int:
        """Return the length of the answer's list of scores: at most one per label."""
        return min(self.scores, len(self.classifier.labels))


@dataclass(slots=True)
class LabelConfidence:
    """One label of a `mode: multi` answer; confidence 0-1."""

    label: str
    confidence: float


@dataclass(slots=True)
class Answer:
    """The part of a result that all records with the same content and classifier share.

    Attributes:
        label: in mode single, the best label.
        labels: in mode multi, the labels above the threshold, best first.
        confidence: of the best label, 0-1 with 4 decimals; None in mode multi if no label is above the threshold.
        tokens: tokens that the model read of this content, with special tokens, without padding.
        visual_tokens: image tokens among them; None if no picture was looked at.
        model: id of the models that were used.
        coverage: share of the content that was read, 0-1.
        evidence: the page or picture that weighed most, such as "page 3".
        scores: the best labels with their confidences, best first, as many as the record asked for; None if it asked
            for none. In mode multi also labels below the threshold.
    """

    label: str | None
    labels: list[LabelConfidence] | None
    confidence: float | None
    tokens: int
    visual_tokens: int | None
    model: str
    coverage: float
    evidence: str | None = None
    scores: list[LabelConfidence] | None = None


@dataclass(slots=True)
class Result:
    """The result of one record: the fields of its `Answer`, and those below.

    Attributes:
        id: of the record.
        latency_ms: milliseconds that this record took.
        cached: whether the answer came from the cache or from an identical record, without reading this one.
        classifier: `name@vN`, or `inline:` and the start of the classifier's digest.
        fingerprint: digest of everything that can change the answer, in hex.
        abstained: whether the confidence was too low; then `label` is the fallback label or None, and `labels` empty.
    """

    id: str
    label: str | None
    labels: list[LabelConfidence] | None
    confidence: float | None
    tokens: int
    visual_tokens: int | None
    latency_ms: float
    cached: bool
    classifier: str
    model: str
    coverage: float
    fingerprint: str
    evidence: str | None = None
    abstained: bool = False
    scores: list[LabelConfidence] | None = None


@dataclass(slots=True)
class Failure:
    """A record without an answer, and the reason.

    Attributes:
        id: of the record, or its position in the source if the id is invalid.
        stage: step that failed: read, fetch, expand, classify or write.
        code: stable code of the reason.
        message: the reason, with the value and the remedy.
        field: the request field at fault; None if no single field is.
        record: the original record as JSON, if it could be read.
        attempted_at: UTC.
    """

    id: str
    stage: str
    code: FailureCode
    message: str
    field: str | None = None
    record: str | None = None
    attempted_at: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of(cls, error: RecordError, id: str, stage: str, record: str | None = None) -> Failure:
        """Return the failure row for an error of a record."""
        return cls(id, stage, error.code, error.message, error.field, record)


Outcome = Result | Failure

_LABEL_CONFIDENCE = pa.struct([pa.field("label", pa.string()), pa.field("confidence", pa.float64())])

RESULT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("labels", pa.list_(_LABEL_CONFIDENCE)),
        pa.field("confidence", pa.float64()),
        pa.field("abstained", pa.bool_(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("visual_tokens", pa.int64()),
        pa.field("latency_ms", pa.float64(), nullable=False),
        pa.field("cached", pa.bool_(), nullable=False),
        pa.field("classifier", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("coverage", pa.float64(), nullable=False),
        pa.field("evidence", pa.string()),
        pa.field("fingerprint", pa.string(), nullable=False),
    ]
)

# The last result column of a job with `scores:`.
SCORES = pa.field("scores", pa.list_(_LABEL_CONFIDENCE))
SCORED_RESULT_SCHEMA = RESULT_SCHEMA.append(SCORES)

_FAILURE_FIELDS: list[pa.Field[Any]] = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("stage", pa.string(), nullable=False),
    pa.field("code", pa.string(), nullable=False),
    pa.field("message", pa.string(), nullable=False),
    pa.field("field", pa.string()),
    pa.field("record", pa.string()),
    pa.field("attempted_at", pa.timestamp("us", tz="UTC"), nullable=False),
]
FAILURE_SCHEMA = pa.schema(_FAILURE_FIELDS)


def result_schema(scored: bool = False) -> pa.Schema:
    """Return the result columns, with `scores` if the job asks for them."""
    return SCORED_RESULT_SCHEMA if scored else RESULT_SCHEMA


def results_to_arrow(results: Sequence[Result], scored: bool = False) -> pa.RecordBatch:
    """Return results as one Arrow batch of `result_schema(scored)`, in the same order."""
    schema = result_schema(scored)
    columns = {name: [getattr(result, name) for result in results] for name in schema.names}
    for name in ("labels", "scores") if scored else ("labels",):
        columns[name] = [
            None if pairs is None else [(item.label, item.confidence) for item in pairs] for pairs in columns[name]
        ]
    return pa.RecordBatch.from_pydict(columns, schema=schema)


def failures_to_arrow(failures: Sequence[Failure]) -> pa.RecordBatch:
    """Return failures as one Arrow batch of `FAILURE_SCHEMA`, in the same order."""
    columns = {name: [getattr(failure, name) for failure in failures] for name in FAILURE_SCHEMA.names}
    return pa.RecordBatch.from_pydict(columns, schema=FAILURE_SCHEMA)
