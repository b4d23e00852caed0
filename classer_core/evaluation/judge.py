"""Judge answers by what is known of their rows, and return a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from classer_core.abstaining import Abstention
from classer_core.evaluation.answers import Answers, Floats
from classer_core.evaluation.metrics import (
    BINS,
    Curve,
    calibrate,
    confusion,
    coverage_curve,
    label_scores,
    resampled_sums,
    row_sums,
)
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
    answers: Answers,
    rows: Rows,
    ids: Sequence[str],
    texts: Sequence[str],
    wanted: float = 0.95,
    setting: str = "min_confidence",
    abstention: Abstention | None = None,
    fallback_is_right: bool = False,
) -> Report:
    """Judges answers.

    Args:
        answers: what was right and what was said.
        rows: where they come from.
        ids: of each row.
        texts: of each row, "" where there is none.
        wanted: the precision that the headline looks for.
        setting: the key of the job that sets what is answered: min_confidence or threshold.
        abstention: the job's own rule.
        fallback_is_right: whether `answers.given` has fallback labels.
    """
    sums = row_sums(answers)
    totals = np.asarray(sums.sum(axis=0)).ravel()
    size = len(answers.labels)
    given, right = totals[size : 2 * size], totals[2 * size : 3 * size]
    present = (given + right) > 0
    averaged = present if present.any() else ~present
    found = label_scores(totals, averaged, answers.n_rows)
    drawn = label_scores(resampled_sums(sums), averaged, answers.n_rows)
    matrix = confusion(answers)
    curve = coverage_curve(answers)
    names = list(answers.labels) if answers.one_of else [*answers.labels, NONE]

    f1_low, f1_high = np.percentile(drawn.by_label.f1, [2.5, 97.5], axis=0)
    label_rows = [
        LabelRow(
            label=label,
            precision=float(found.by_label.precision[place]) if given[place] else None,
            recall=float(found.by_label.recall[place]) if right[place] else None,
            f1=Interval(float(found.by_label.f1[place]), float(f1_low[place]), float(f1_high[place]))
            if present[place]
            else None,
            support=int(right[place]),
            given=int(given[place]),
        )
        for place, label in enumerate(answers.labels)
    ]
    calibration = calibrate(answers.confidence, answers.correct)
    return Report(
        rows=rows,
        mode=_mode(answers),
        setting=setting,
        judged=answers.n_rows,
        fallback_is_right=fallback_is_right,
        accuracy=_interval(found.exact, drawn.exact),
        macro_f1=_interval(found.macro.f1, drawn.macro.f1),
        macro_precision=_interval(found.macro.precision, drawn.macro.precision),
        macro_recall=_interval(found.macro.recall, drawn.macro.recall),
        micro_f1=_interval(found.micro.f1, drawn.micro.f1),
        micro_precision=_interval(found.micro.precision, drawn.micro.precision),
        micro_recall=_interval(found.micro.recall, drawn.micro.recall),
        expected_calibration_error=calibration.expected_error,
        wanted=_target(curve, wanted),
        targets=[_target(curve, precision) for precision in PRECISIONS],
        abstained=_abstained(answers, abstention),
        labels=label_rows,
        confusion_labels=names,
        confusion_matrix=matrix.tolist(),
        confusions=_confusions(matrix, names, right),
        calibration=[
            Bin(
                low=place / BINS,
                high=(place + 1) / BINS,
                count=int(count),
                confidence=float(calibration.confidence[place]) if count else None,
                accuracy=float(calibration.accuracy[place]) if count else None,
            )
            for place, count in enumerate(calibration.count)
        ],
        curve=[_point(curve, place) for place in _spread(curve.coverage)],
        mistakes=_mistakes(answers, ids, texts),
    )


def _interval(found: Floats, drawn: Floats) -> Interval:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(found), float(low), float(high))


def _mode(answers: Answers) -> str:
    return "single" if answers.one_of else "multi" if len(answers.labels) > 1 else "detection"


def _point(curve: Curve, place: int) -> Point:
    threshold, precision, coverage = curve.threshold[place], curve.precision[place], curve.coverage[place]
    return Point(float(threshold), float(precision), float(coverage), int(curve.answers[place]))


def _target(curve: Curve, precision: float) -> Target:
    place = curve.reach(precision)
    return Target(precision, None if place is None else _point(curve, place))


def _spread(coverage: Floats) -> list[int]:
    """Positions of some points of a curve, even in coverage; the first and the last always."""
    places = np.searchsorted(coverage, np.linspace(coverage[0], coverage[-1], CURVE_POINTS))
    return sorted({0, *places.clip(0, len(coverage) - 1).tolist(), len(coverage) - 1})


def _abstained(answers: Answers, abstention: Abstention | None) -> Abstained | None:
    if abstention is None or not abstention.min_confidence:
        return None
    # As `Abstention.apply`: the best answer decides, and a row without any given label stays answered.
    best = np.zeros(answers.n_rows)
    np.maximum.at(best, answers.row, answers.confidence)
    stays = best >= abstention.min_confidence
    if not answers.one_of:
        stays |= answers.given.sum(axis=1) == 0
    given, hits = float(answers.given[stays].sum()), float(answers.hits[stays].sum())
    return Abstained(abstention.min_confidence, float(stays.mean()), hits / given if given else None)


def _confusions(matrix: Any, names: Sequence[str], right: Any) -> list[Confusion]:
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    support = [*right, matrix[-1].sum()]  # the last for "none": rows that miss nothing
    found = [(int(wrong[place]), int(place[0]), int(place[1])) for place in zip(*np.nonzero(wrong), strict=True)]
    found.sort(key=lambda item: (-item[0], item[1], item[2]))
    return [
        Confusion(names[gold], names[given], count, count / float(support[gold]))
        for count, gold, given in found[:CONFUSIONS]
    ]


def _mistakes(answers: Answers, ids: Sequence[str], texts: Sequence[str]) -> list[Mistake]:
    wrong = np.flatnonzero(answers.wrong)
    surest = wrong[np.argsort(-answers.confidence[wrong], kind="stable")][:MISTAKES]
    return [_mistake(answers, int(place), ids, texts) for place in surest]


def _mistake(answers: Answers, place: int, ids: Sequence[str], texts: Sequence[str]) -> Mistake:
    row = int(answers.row[place])
    gold = [answers.labels[label] for label in answers.gold[[row]].indices]
    text = " ".join(texts[row][: 4 * TEXT_CHARS].split())
    return Mistake(
        id=ids[row],
        text=text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 1] + "…",
        gold=gold,
        given=answers.labels[int(answers.label[place])],
        confidence=float(answers.confidence[place]),
    )
