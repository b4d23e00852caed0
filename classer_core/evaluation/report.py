"""Report and its parts; all values are plain, so that they can be written as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import orjson

from classer_core.evaluation.metrics import RESAMPLES, SEED


@dataclass(frozen=True)
class Interval:
    """A metric with its 95% bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LabelRow:
    """The metrics of one label.

    Attributes:
        label: its name.
        precision: None if it was never given.
        recall: None if it is never right.
        f1: None if it was never given and is never right.
        support: number of rows for which it is right.
        given: number of rows to which it was given.
    """

    label: str
    precision: float | None
    recall: float | None
    f1: Interval | None
    support: int
    given: int


@dataclass(frozen=True)
class Bin:
    """Answers with a confidence above `low` and up to `high`.

    Attributes:
        low: lower bound, excluded.
        high: upper bound, included.
        count: number of answers.
        confidence: their mean confidence; None for an empty bin.
        accuracy: share of them that are right; None for an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Point:
    """Precision and coverage if only answers with at least `threshold` confidence are given; see `metrics.Curve`."""

    threshold: float
    precision: float
    coverage: float
    answers: int


@dataclass(frozen=True)
class Target:
    """The point of the lowest threshold with the wanted precision; None if no threshold reaches it."""

    wanted: float
    point: Point | None


@dataclass(frozen=True)
class Confusion:
    """A pair of labels that were confused.

    Attributes:
        gold: the right label.
        given: the label given instead.
        count: number of rows.
        share: share of the rows for which `gold` is right, 0-1.
    """

    gold: str
    given: str
    count: int
    share: float


@dataclass(frozen=True)
class Mistake:
    """A wrong answer of high confidence."""

    id: str
    text: str
    gold: list[str]
    given: str
    confidence: float


@dataclass(frozen=True)
class Abstained:
    """The effect of the job's `min_confidence`.

    Attributes:
        min_confidence: of the job.
        answered: share of rows that are answered, 0-1.
        precision: share of given labels that are right, 0-1; None if none is given.
    """

    min_confidence: float
    answered: float
    precision: float | None


@dataclass(frozen=True)
class Rows:
    """The rows with gold labels, and what classified them.

    Attributes:
        job: name of the job.
        gold: file with the gold labels.
        gold_rows: number of its rows.
        without_gold: rows without a label.
        unreadable: rows that can't be read.
        unmatched: rows whose id no record of the job has.
        failed: code -> number of rows that failed.
        models: ids of the models used.
        classifiers: names of the classifiers used.
    """

    job: str
    gold: str
    gold_rows: int
    without_gold: int = 0
    unreadable: int = 0
    unmatched: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    models: Sequence[str] = ()
    classifiers: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """The report of an evaluation.

    Metrics are those of the rows that got an answer, before abstention; after it if `fallback_is_right`.

    Attributes:
        rows: counts and origin of the rows.
        mode: single, multi, or detection (a single label that is right or not).
        setting: the job's key that the thresholds are for: min_confidence or threshold.
        judged: number of rows that the metrics are computed on.
        fallback_is_right: whether gold rows name the fallback label, so that abstaining can be right.
        accuracy: share of rows with exactly the right labels.
        wanted: the threshold for the wanted precision.
        targets: thresholds for common precisions.
        abstained: the effect of the job's `min_confidence`; None if it has none.
        labels: metrics of each label.
        confusion_labels: names of the rows and columns of `confusion_matrix`.
        confusions: the most frequent pairs of confused labels.
        calibration: answers in bins of their confidence.
        curve: precision by coverage.
        mistakes: wrong answers of the highest confidence.
        resamples: number of bootstrap resamples of the intervals.
        seed: of the resampling.
    """

    rows: Rows
    mode: str
    setting: str
    judged: int
    fallback_is_right: bool
    accuracy: Interval
    macro_f1: Interval
    macro_precision: Interval
    macro_recall: Interval
    micro_f1: Interval
    micro_precision: Interval
    micro_recall: Interval
    expected_calibration_error: float
    wanted: Target
    targets: list[Target]
    abstained: Abstained | None
    labels: list[LabelRow]
    confusion_labels: list[str]
    confusion_matrix: list[list[int]]
    confusions: list[Confusion]
    calibration: list[Bin]
    curve: list[Point]
    mistakes: list[Mistake]
    resamples: int = RESAMPLES
    seed: int = SEED

    def to_json(self) -> bytes:
        """Return the report as indented JSON. Deterministic."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
