"""Build the report of an evaluation from predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from classer_core.abstaining import Abstention
from classer_core.evaluation.metrics import (
    BINS,
    Curve,
    confusion,
    coverage_curve,
    label_scores,
    reliability,
    resampled_sums,
    row_sums,
)
from classer_core.evaluation.predictions import Floats, Predictions
from classer_core.evaluation.report import (
    Abstained,
    Bin,
    Confusion,
    Interval,
    LabelRow,
    Mistake,
    Point,
    Report,
    Rows,
    Target,
)

NONE = "(none)"
PRECISIONS = (0.8, 0.9, 0.95, 0.98, 0.99)
CURVE_POINTS = 200
MISTAKES = 25
CONFUSIONS = 25
TEXT_CHARS = 400


def evaluate(
    predictions: Predictions,
    rows: Rows,
    ids: Sequence[str],
    texts: Sequence[str],
    wanted: float = 0.95,
    setting: str = "min_confidence",
    abstention: Abstention | None = None,
    fallback_is_right: bool = False,
) -> Report:
    """Return the report of an evaluation.

    Args:
        predictions: gold and given labels of the rows.
        rows: counts and origin of the rows.
        ids: id of each row.
        texts: text of each row, "" where there is none.
        wanted: the precision (0-1) for which the headline names a threshold.
        setting: the job's key for this threshold: min_confidence or threshold.
        abstention: the job's abstention.
        fallback_is_right: whether gold rows name the fallback label, so that `predictions.given` contains it.
    """
    sums = row_sums(predictions)
    totals = np.asarray(sums.sum(axis=0)).ravel()
    size = len(predictions.labels)
    given, right = totals[size : 2 * size], totals[2 * size : 3 * size]
    present = (given + right) > 0
    averaged = present if present.any() else ~present
    scores = label_scores(totals, averaged, predictions.n_rows)
    resampled = label_scores(resampled_sums(sums), averaged, predictions.n_rows)
    matrix = confusion(predictions)
    curve = coverage_curve(predictions)
    names = list(predictions.labels) if predictions.one_of else [*predictions.labels, NONE]

    f1_low, f1_high = np.percentile(resampled.by_label.f1, [2.5, 97.5], axis=0)
    label_rows = [
        LabelRow(
            label=label,
            precision=float(scores.by_label.precision[place]) if given[place] else None,
            recall=float(scores.by_label.recall[place]) if right[place] else None,
            f1=Interval(float(scores.by_label.f1[place]), float(f1_low[place]), float(f1_high[place]))
            if present[place]
            else None,
            support=int(right[place]),
            given=int(given[place]),
        )
        for place, label in enumerate(predictions.labels)
    ]
    bins = reliability(predictions.confidence, predictions.correct)
    return Report(
        rows=rows,
        mode=_mode(predictions),
        setting=setting,
        judged=predictions.n_rows,
        fallback_is_right=fallback_is_right,
        accuracy=_interval(scores.exact, resampled.exact),
        macro_f1=_interval(scores.macro.f1, resampled.macro.f1),
        macro_precision=_interval(scores.macro.precision, resampled.macro.precision),
        macro_recall=_interval(scores.macro.recall, resampled.macro.recall),
        micro_f1=_interval(scores.micro.f1, resampled.micro.f1),
        micro_precision=_interval(scores.micro.precision, resampled.micro.precision),
        micro_recall=_interval(scores.micro.recall, resampled.micro.recall),
        expected_calibration_error=bins.expected_error,
        wanted=_target(curve, wanted),
        targets=[_target(curve, precision) for precision in PRECISIONS],
        abstained=_abstained(predictions, abstention),
        labels=label_rows,
        confusion_labels=names,
        confusion_matrix=matrix.tolist(),
        confusions=_confusions(matrix, names, right),
        calibration=[
            Bin(
                low=place / BINS,
                high=(place + 1) / BINS,
                count=int(count),
                confidence=float(bins.confidence[place]) if count else None,
                accuracy=float(bins.accuracy[place]) if count else None,
            )
            for place, count in enumerate(bins.count)
        ],
        curve=[_point(curve, place) for place in _spread(curve.coverage)],
        mistakes=_mistakes(predictions, ids, texts),
    )


def _interval(value: Floats, resampled: Floats) -> Interval:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))


def _mode(predictions: Predictions) -> str:
    return "single" if predictions.one_of else "multi" if len(predictions.labels) > 1 else "detection"


def _point(curve: Curve, place: int) -> Point:
    threshold, precision, coverage = curve.threshold[place], curve.precision[place], curve.coverage[place]
    return Point(float(threshold), float(precision), float(coverage), int(curve.answers[place]))


def _target(curve: Curve, precision: float) -> Target:
    place = curve.reach(precision)
    return Target(precision, None if place is None else _point(curve, place))


def _spread(coverage: Floats) -> list[int]:
    """Return the positions of `CURVE_POINTS` points of a curve, evenly spaced in coverage, with both ends."""
    places = np.searchsorted(coverage, np.linspace(coverage[0], coverage[-1], CURVE_POINTS))
    return sorted({0, *places.clip(0, len(coverage) - 1).tolist(), len(coverage) - 1})


def _abstained(predictions: Predictions, abstention: Abstention | None) -> Abstained | None:
    if abstention is None or not abstention.min_confidence:
        return None
    # As in `Abstention.apply`: the best answer decides, and a row without any given label does not abstain.
    best = np.zeros(predictions.n_rows)
    np.maximum.at(best, predictions.row, predictions.confidence)
    is_answered = best >= abstention.min_confidence
    if not predictions.one_of:
        is_answered |= predictions.given.sum(axis=1) == 0
    given, hits = float(predictions.given[is_answered].sum()), float(predictions.hits[is_answered].sum())
    return Abstained(abstention.min_confidence, float(is_answered.mean()), hits / given if given else None)


def _confusions(matrix: Any, names: Sequence[str], right: Any) -> list[Confusion]:
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    support = [*right, matrix[-1].sum()]  # the last is that of "none": rows without a missed label
    counts = [(int(wrong[place]), int(place[0]), int(place[1])) for place in zip(*np.nonzero(wrong), strict=True)]
    counts.sort(key=lambda item: (-item[0], item[1], item[2]))
    return [
        Confusion(names[gold], names[given], count, count / float(support[gold]))
        for count, gold, given in counts[:CONFUSIONS]
    ]


def _mistakes(predictions: Predictions, ids: Sequence[str], texts: Sequence[str]) -> list[Mistake]:
    wrong = np.flatnonzero(predictions.wrong)
    most_confident = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:MISTAKES]
    return [_mistake(predictions, int(place), ids, texts) for place in most_confident]


def _mistake(predictions: Predictions, place: int, ids: Sequence[str], texts: Sequence[str]) -> Mistake:
    row = int(predictions.row[place])
    gold = [predictions.labels[label] for label in predictions.gold[[row]].indices]
    text = " ".join(texts[row][: 4 * TEXT_CHARS].split())
    return Mistake(
        id=ids[row],
        text=text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 1] + "…",
        gold=gold,
        given=predictions.labels[int(predictions.label[place])],
        confidence=float(predictions.confidence[place]),
    )
