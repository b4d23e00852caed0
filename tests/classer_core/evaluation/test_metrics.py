"""Figures against scikit-learn's, and against small cases counted by hand."""

import numpy as np
import pytest
from sklearn import metrics as reference

from classer_core.evaluation import Predictions
from classer_core.evaluation.metrics import (
    LabelScores,
    confusion,
    coverage_curve,
    label_scores,
    reliability,
    resampled_sums,
    row_sums,
)

LABELS = ["a", "b", "c", "d"]  # "d" is never right and never given


def some_single(rows: int = 500) -> tuple[Predictions, list[str], list[str]]:
    draw = np.random.default_rng(3)
    gold = draw.choice(LABELS[:3], rows).tolist()
    said = [label if draw.random() < 0.7 else str(draw.choice(LABELS[:3])) for label in gold]
    return Predictions.single(LABELS, gold, said, np.round(draw.random(rows), 2)), gold, said


def some_multi(rows: int = 300) -> tuple[Predictions, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(4)
    right, sure = draw.random((rows, 4)) < 0.3, np.round(draw.random((rows, 4)), 3)
    gold = [[LABELS[place] for place in np.flatnonzero(row)] for row in right]
    row, label = np.divmod(np.arange(rows * 4), 4)
    return Predictions.multi(LABELS, gold, row, label, sure.ravel(), 0.6), right, sure >= 0.6


def scores(answers: Predictions, present: list[bool]) -> LabelScores:
    totals = np.asarray(row_sums(answers).sum(axis=0)).ravel()
    return label_scores(totals, np.array(present), answers.n_rows)


def test_one_label_a_row_as_scikit_learn_has_it() -> None:
    answers, gold, said = some_single()
    found = scores(answers, [True, True, True, False])
    expected = reference.precision_recall_fscore_support(gold, said, labels=LABELS, zero_division=0)
    np.testing.assert_allclose(found.by_label, expected[:3])
    assert found.exact == pytest.approx(reference.accuracy_score(gold, said))
    assert found.macro.f1 == pytest.approx(reference.f1_score(gold, said, average="macro"))
    np.testing.assert_array_equal(confusion(answers), reference.confusion_matrix(gold, said, labels=LABELS))


def test_several_labels_a_row_as_scikit_learn_has_it() -> None:
    answers, right, given = some_multi()
    found = scores(answers, [True] * 4)
    for figures, average in ((found.macro, "macro"), (found.micro, "micro"), (found.by_label, None)):
        expected = reference.precision_recall_fscore_support(right, given, average=average)[:3]
        np.testing.assert_allclose(figures, expected)
    assert found.exact == pytest.approx(reference.accuracy_score(right, given))


def test_confusions_of_several_labels() -> None:
    gold = [["a"], ["a", "b"], [], ["b"], []]
    row, label = np.array([0, 1, 1, 2]), np.array([0, 0, 2, 2])
    matrix = confusion(Predictions.multi(["a", "b", "c"], gold, row, label, np.full(4, 0.9), 0.5))
    assert matrix.tolist() == [[2, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1]]


def test_calibration_error_by_hand() -> None:
    answers = Predictions.single(["a", "b"], ["a", "a", "a", "b"], ["a", "b", "a", "b"], np.array([0.9, 0.9, 0.6, 1.0]))
    found = reliability(answers.confidence, answers.correct)
    assert found.count.tolist() == [0] * 8 + [1, 0, 0, 0, 0, 2, 1]
    assert found.expected_error == pytest.approx((0.4 + 2 * 0.4 + 0) / 4)


def test_the_threshold_of_a_wanted_precision() -> None:
    said = ["a", "a", "b", "a", "b"]
    answers = Predictions.single(["a", "b"], ["a", "a", "a", "a", "a"], said, np.array([0.9, 0.8, 0.7, 0.7, 0.2]))
    curve = coverage_curve(answers)
    assert curve.threshold.tolist() == [0.9, 0.8, 0.7, 0.2]  # equal confidences are answered together, or not at all
    assert curve.precision.tolist() == [1.0, 1.0, 0.75, 0.6]
    assert curve.coverage.tolist() == [0.4 / 2, 0.4, 0.8, 1.0]
    assert [curve.reach(wanted) for wanted in (0.95, 0.75, 0.1)] == [1, 2, 3]
    never = coverage_curve(Predictions.single(["a", "b"], ["a"], ["b"], np.array([0.9])))
    assert never.reach(0.5) is None


def test_coverage_of_several_labels_is_recall() -> None:
    answers, right, _ = some_multi()
    curve = coverage_curve(answers)
    assert curve.coverage[-1] == 1.0 and curve.precision[-1] == pytest.approx(right.mean())


def test_resampling_is_of_rows_and_repeats_itself() -> None:
    answers, gold, said = some_single()
    sums = row_sums(answers)
    drawn = resampled_sums(sums, 400)
    np.testing.assert_array_equal(drawn, resampled_sums(sums, 400))
    assert not np.array_equal(drawn, resampled_sums(sums, 400, seed=1))
    right = np.array(gold) == np.array(said)
    # Of a mean over rows the bootstrap's spread is known: that of a binomial.
    assert drawn[:, -1].mean() == pytest.approx(right.sum(), rel=0.01)
    assert drawn[:, -1].std() == pytest.approx(np.sqrt(len(right) * right.mean() * (1 - right.mean())), rel=0.15)
