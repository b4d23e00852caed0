"""The things that travel: a Record to classify, its Answer, and the Result or the Failure that it ends as."""

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
# What a record supplies by itself. Any other field decides how it is judged, or makes the worker fetch: a record
# supplies it only where the job says so.
OWN_FIELDS = ("id", "text")
PRIORITIES = ("standard", "fast")


@dataclass(slots=True)
class Record:
    """One checked request."""

    id: str
    text: str
    classifier: Classifier
    priority: str = "standard"
    cache: bool = True
    attachments: tuple[Attachment, ...] = ()
    fetch_ms: float = 0.0


@dataclass(slots=True)
class LabelConfidence:
    """One label of a `mode: multi` answer; confidence 0-1."""

    label: str
    confidence: float


@dataclass(slots=True)
class Answer:
    """What the models say of a content: the part of a result that every record with this content shares.

    `label` is set in mode single, `labels` (best first) in mode multi.
    `confidence` 0-1 with 4 decimals (multi: of the best label, None if none is above the threshold).
    `tokens` counts what the model read of this content, special tokens included, padding not.
    `coverage` is the share of the content that was read. `evidence` is the page or picture that weighed most.
    """

    label: str | None
    labels: list[LabelConfidence] | None
    confidence: float | None
    tokens: int
    visual_tokens: int | None
    model: str
    coverage: float
    evidence: str | None = None


@dataclass(slots=True)
class Result:
    """The answer to one record: the fields of its Answer, and what is its own.

    `cached`: this record was not read; its answer came from the cache or from an identical record.
    `abstained`: the confidence was too low, and the label is None or a fallback (labels: empty).
    `latency_ms` is this record's own time. `fingerprint` is the digest of all that can change the answer, in hex.
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


@dataclass(slots=True)
class Failure:
    """A record that got no answer, and why. `record` is the original as JSON, where it could be read."""

    id: str
    stage: str
    code: FailureCode
    message: str
    field: str | None = None
    record: str | None = None
    attempted_at: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of(cls, error: RecordError, id: str, stage: str, record: str | None = None) -> Failure:
        """The failure row of an error."""
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


def results_to_arrow(results: Sequence[Result]) -> pa.RecordBatch:
    """Results as one Arrow batch of `RESULT_SCHEMA`, in the same order."""
    columns = {name: [getattr(result, name) for result in results] for name in RESULT_SCHEMA.names}
    columns["labels"] = [
        None if labels is None else [(item.label, item.confidence) for item in labels] for labels in columns["labels"]
    ]
    return pa.RecordBatch.from_pydict(columns, schema=RESULT_SCHEMA)


def failures_to_arrow(failures: Sequence[Failure]) -> pa.RecordBatch:
    """Failures as one Arrow batch of `FAILURE_SCHEMA`, in the same order."""
    columns = {name: [getattr(failure, name) for failure in failures] for name in FAILURE_SCHEMA.names}
    return pa.RecordBatch.from_pydict(columns, schema=FAILURE_SCHEMA)
