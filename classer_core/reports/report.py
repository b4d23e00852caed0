"""RunReport and its parts; all values are plain, so that they can be written as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import orjson


@dataclass(frozen=True)
class ShownRow:
    """A row as the page shows it; `text` is cut, and None where texts are hidden or there is none."""

    id: str
    text: str | None
    label: str
    confidence: float | None
    evidence: str | None
    latency_ms: float


@dataclass(frozen=True)
class LabelFigures:
    """One label's rows.

    Attributes:
        label: its name; None for rows without one (abstained, or none above the threshold).
        count: rows that have it.
        share: of all rows, 0-1; in mode multi they add up to more than 1.
        confidence: the mean, 0-1; None without rows.
        histogram: rows by confidence, in equal bins from 0 to 1.
        earlier: share in the earlier output; None without one.
        moved: whether the share differs from the earlier one by more than chance explains.
    """

    label: str | None
    count: int
    share: float
    confidence: float | None
    histogram: list[int]
    earlier: float | None = None
    moved: bool = False


@dataclass(frozen=True)
class FailureFigures:
    """Failures of one code, with (id, message, record) of some of them; message and record may be hidden."""

    code: str
    count: int
    samples: list[tuple[str, str | None, str | None]]


@dataclass(frozen=True)
class Change:
    """A figure of this output and of an earlier one; `moved`: they differ by more than chance explains."""

    name: str
    now: float
    earlier: float
    moved: bool


@dataclass(frozen=True)
class RunReport:
    """The figures of an output.

    Attributes:
        name: of the output.
        rows: results.
        failed: failures.
        abstained: results without an answer that was sure enough.
        cached: results that were not read.
        confidence: mean of all results that have one; calibrated, it estimates the share of right labels.
        tokens: that the model read.
        cost: of the tokens, at a price; None without.
        currency: of the cost.
        labels: by count, the most frequent one first.
        histogram: results by confidence, in equal bins from 0 to 1.
        failures: by count, the most frequent code first.
        unsure: the rows with the lowest confidence.
        slowest: the rows that took longest.
        evidence: (kind of place, count) of rows with attachments, as in ("page 3", 12).
        partly_read: rows of documents of which not all pages were read.
        models: ids.
        classifiers: names.
        against: name of the earlier output; None without.
        changes: figures of both.
        redacted: whether texts are hidden.
    """

    name: str
    rows: int
    failed: int
    abstained: int
    cached: int
    confidence: float | None
    tokens: int
    cost: float | None
    currency: str | None
    labels: list[LabelFigures]
    histogram: list[int]
    failures: list[FailureFigures]
    unsure: list[ShownRow]
    slowest: list[ShownRow]
    evidence: list[tuple[str, int]]
    partly_read: int
    models: list[str]
    classifiers: list[str]
    against: str | None = None
    changes: list[Change] = field(default_factory=list)
    redacted: bool = False

    def to_json(self) -> bytes:
        """Return all figures as JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)
