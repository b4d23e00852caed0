"""Intervals of shares hold the truth as often as they say, and are narrower than the gold rows alone give."""

import numpy as np
import pytest

from classer_core.reports.shares import Floats, Share, estimate_shares

ROWS, LABELS = 5_000, ["a", "b", "c", "rare"]
MIX = [0.5, 0.3, 0.19, 0.01]


def world(seed: int, accuracy: float = 0.9) -> tuple[Floats, Floats]:
    """Right labels, and the answers of a classifier that takes one of ten for another, mostly for `a`."""
    draw = np.random.default_rng(seed)
    right = draw.choice(4, ROWS, p=MIX)
    answer = np.where(draw.random(ROWS) < accuracy, right, draw.choice(4, ROWS, p=[0.7, 0.2, 0.05, 0.05]))
    sure = np.clip(draw.normal(accuracy, 0.05, ROWS), 0.3, 0.99)
    said = np.repeat(((1 - sure) / 3)[:, None], 4, axis=1)
    said[np.arange(ROWS), answer] = sure
    return np.eye(4)[right], said


def estimate(right: Floats, said: Floats, rows: np.ndarray, weights: Floats | None = None) -> list[Share]:
    counted = np.eye(4)[said.argmax(axis=1)].mean(axis=0)
    return estimate_shares(LABELS, right[rows], said[rows], said.mean(axis=0), counted, len(right), weights)


@pytest.mark.parametrize("gold", [60, 300])
def test_intervals_hold_the_truth(gold: int) -> None:
    held, narrower = [], []
    for seed in range(300):
        right, said = world(seed)
        truth = right.mean(axis=0)
        rows = np.random.default_rng(1_000 + seed).choice(ROWS, gold, replace=False)
        for item in estimate(right, said, rows):
            place = LABELS.index(item.label)
            held.append(item.low <= truth[place] <= item.high)
            if item.label != "rare":
                narrower.append(item.error / item.gold_error)
    assert np.mean(held) >= 0.93
    assert np.mean(narrower) <= 0.75


def test_counting_answers_is_wrong_where_the_correction_is_right() -> None:
    counted, corrected = [], []
    for seed in range(100):
        right, said = world(seed, accuracy=0.6)
        rows = np.random.default_rng(1_000 + seed).choice(ROWS, 300, replace=False)
        [item] = [item for item in estimate(right, said, rows) if item.label == "c"]
        truth = right[:, 2].mean()
        counted.append(item.low <= item.counted <= item.high)
        corrected.append(item.low <= truth <= item.high)
    assert np.mean(counted) < 0.2 and np.mean(corrected) >= 0.93


def test_weights_make_up_for_a_sample_that_is_none_of_chance() -> None:
    """Three of four gold rows were drawn among the answers that are not `a`."""
    held = []
    for seed in range(200):
        right, said = world(seed)
        draw = np.random.default_rng(seed)
        is_first = said.argmax(axis=1) == 0
        first, others = np.flatnonzero(is_first), np.flatnonzero(~is_first)
        rows = np.concatenate([draw.choice(first, 75, replace=False), draw.choice(others, 225, replace=False)])
        weights = np.concatenate([np.full(75, len(first) / 75), np.full(225, len(others) / 225)])
        [item] = [item for item in estimate(right, said, rows, weights) if item.label == "a"]
        held.append(item.low <= right[:, 0].mean() <= item.high)
    assert np.mean(held) >= 0.93


def test_a_classifier_that_knows_nothing_does_no_harm() -> None:
    right, _ = world(1)
    said = np.full((ROWS, 4), 0.25)
    rows = np.arange(200)
    for item in estimate(right, said, rows):
        assert item.share == pytest.approx(item.gold) and item.error == pytest.approx(item.gold_error)


def test_all_rows_leave_nothing_to_guess() -> None:
    right, said = world(2)
    for item in estimate(right, said, np.arange(ROWS)):
        assert item.error == 0 and item.share == pytest.approx(right.mean(axis=0)[LABELS.index(item.label)])
    with pytest.raises(ValueError, match="at least 3 gold rows"):
        estimate(right, said, np.arange(2))
