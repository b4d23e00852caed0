"""The content of a report, in plain types, so that it is JSON as it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import orjson

from classer_core.evaluation.metrics import RESAMPLES, SEED


@dataclass(frozen=True)
class Interval:
    """A figure with the middle 95% of its bootstrap."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LabelRow:
    """One label: None where a figure has no meaning (never given, or never right)."""

    label: str
    precision: float | None
    recall: float | None
    f1: Interval | None
    support: int
    given: int


@dataclass(frozen=True)
class Bin:
    """Answers with a confidence above `low` up to `high`; means are None without any."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Point:
    """Precision and coverage of answering only from `threshold` on."""

    threshold: float
    precision: float
    coverage: float
    answers: int


@dataclass(frozen=True)
class Target:
    """The lowest threshold with a wanted precision, if there is one."""

    wanted: float
    point: Point | None


@dataclass(frozen=True)
class Confusion:
    """A right label that was taken for another, how often, and in which share of its rows."""

    gold: str
    given: str
    count: int
    share: float


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that the model was sure of."""

    id: str
    text: str
    gold: list[str]
    given: str
    confidence: float


@dataclass(frozen=True)
class Abstained:
    """The effect of the job's `min_confidence`: share of rows answered, and share of given labels that are right."""

    min_confidence: float
    answered: float
    precision: float | None


@dataclass(frozen=True)
class Rows:
    """The gold rows by outcome, and the models that answered them. `failed` counts by code."""

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
    """Everything that was found. Figures are of the rows that got an answer, before abstaining unless
    `fallback_is_right`: the gold rows name the fallback label, so that abstaining can be right.

    `mode` is single, multi or detection (one label, there or not). `accuracy` is the share of rows with exactly the
    right label(s). `calibration` and `curve` judge single answers: one a row, or one for every label of every row.
    `setting` is the key of the job that their thresholds are for.
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
        """The report as indented JSON; same answers, same bytes."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
