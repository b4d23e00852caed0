"""Figures of answers. Those of labels are functions of sums over rows, so that resampling is one product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from classer_core.evaluation.answers import Answers, Floats, Integers

BINS = 15
RESAMPLES = 1_000
RESAMPLES_AT_ONCE = 50
SEED = 0


class Figures(NamedTuple):
    """Of labels; 0 where a label was never given (precision) or is never right (recall)."""

    precision: Floats
    recall: Floats
    f1: Floats


@dataclass(frozen=True)
class LabelScores:
    """Figures from sums over rows; all of them have the leading shape of those sums, () or (n_resamples,).

    `macro` is the mean over labels that are right or given somewhere, `micro` is of all labels' answers together;
    `exact` is the share of rows with just the right labels.
    """

    by_label: Figures
    macro: Figures
    micro: Figures
    exact: Floats


@dataclass(frozen=True)
class Calibration:
    """Answers in bins of equal width by their confidence: how many, how sure on average, and how often right."""

    count: Integers
    confidence: Floats
    accuracy: Floats

    @property
    def expected_error(self) -> float:
        """Mean distance of confidence and accuracy, weighted by count. Source: Guo et al. 2017, equation 5."""
        weights = self.count / max(int(self.count.sum()), 1)
        return float((weights * np.abs(self.accuracy - self.confidence)).sum())


@dataclass(frozen=True)
class Curve:
    """Return precision and coverage at every threshold, from the surest answers to all; ties fall together.

    `coverage`: share of rows answered (one label a row), or share of right labels found (several).
    """

    threshold: Floats
    precision: Floats
    coverage: Floats
    answers: Integers

    def reach(self, precision: float) -> int | None:
        """Position of the lowest threshold with at least this precision; None if there is none."""
        reached = np.flatnonzero(self.precision >= precision - 1e-12)
        return int(reached[-1]) if len(reached) else None


def row_sums(answers: Answers) -> Any:
    """(n_rows, 3 * n_labels + 1) sparse: right and given, given, right, and whether the row is exactly right."""
    wrong = (answers.gold - answers.given).power(2).sum(axis=1)
    exact = sparse.csr_array((np.asarray(wrong).reshape(-1, 1) == 0).astype(np.float32))
    return sparse.hstack([answers.hits, answers.given, answers.gold, exact], format="csr")


def label_scores(sums: Floats, present: Any, n_rows: int) -> LabelScores:
    """Return the figures of totals of `row_sums` over `n_rows` rows.

    Args:
        sums: (..., 3 * n_labels + 1).
        present: (n_labels,) which labels the macro figures are means of.
        n_rows: rows summed up.
    """
    hits, given, right = np.split(sums[..., :-1].astype(np.float64), 3, axis=-1)
    by_label = _figures(hits, given, right)
    return LabelScores(
        by_label=by_label,
        macro=Figures(*(values[..., present].mean(-1) for values in by_label)),
        micro=_figures(hits.sum(-1), given.sum(-1), right.sum(-1)),
        exact=sums[..., -1].astype(np.float64) / n_rows,
    )


def resampled_sums(sums: Any, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """Totals of `row_sums` (n_resamples, ...) over rows drawn with replacement, the same ones for the same seed."""
    draw = np.random.default_rng(seed)
    n_rows = sums.shape[0]
    # Equal rows are drawn as one kind, many times: a few hundred kinds stand for all rows of a classifier.
    kinds, kind_of_row = _kinds(sums)
    totals = []
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        block = range(min(RESAMPLES_AT_ONCE, resamples - start))
        counts = [np.bincount(kind_of_row[draw.integers(0, n_rows, n_rows)], minlength=kinds.shape[0]) for _ in block]
        totals.append(np.asarray(np.stack(counts).astype(np.float64) @ kinds))
    return np.concatenate(totals)


def calibrate(confidence: Floats, correct: Any) -> Calibration:
    """Answers, by how sure they were and whether they were right, in bins (0, 1/15], (1/15, 2/15], ...

    Empty bins hold zeros.
    """
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    filled = np.maximum(count, 1)
    mean = np.bincount(place, confidence, BINS) / filled
    return Calibration(count, mean, np.bincount(place, correct, BINS) / filled)


def coverage_curve(answers: Answers) -> Curve:
    """Precision and coverage at every confidence that occurs."""
    order = np.argsort(-answers.confidence, kind="stable")
    confidence, right = answers.confidence[order], np.cumsum(answers.correct[order])
    last = np.flatnonzero(np.append(confidence[1:] != confidence[:-1], True)[: len(confidence)])
    taken = last + 1
    whole = answers.n_rows if answers.one_of else int(answers.gold.sum())
    coverage = (taken if answers.one_of else right[last]) / max(whole, 1)
    return Curve(confidence[last], right[last] / taken, coverage, taken)


def confusion(answers: Answers) -> Integers:
    """Counts by right label (rows) and given label (columns).

    With several labels a row there is one more of each, "none": a missed label is counted under every label that the
    row was wrongly given instead, or under "none"; so is a label that was given though none was missed.
    """
    size = len(answers.labels)
    if answers.one_of:
        return np.asarray((answers.gold.T @ answers.given).toarray(), np.int64)
    missed, extra = answers.gold - answers.hits, answers.given - answers.hits
    matrix = np.zeros((size + 1, size + 1), np.int64)
    matrix[:size, :size] = (missed.T @ extra).toarray()
    matrix[range(size), range(size)] = answers.hits.sum(axis=0)
    matrix[:size, size] = missed[extra.sum(axis=1) == 0].sum(axis=0)
    matrix[size, :size] = extra[missed.sum(axis=1) == 0].sum(axis=0)
    matrix[size, size] = int(((answers.gold.sum(axis=1) == 0) & (answers.given.sum(axis=1) == 0)).sum())
    return matrix


def _figures(hits: Floats, given: Floats, right: Floats) -> Figures:
    precision, recall = hits / np.maximum(given, 1), hits / np.maximum(right, 1)
    return Figures(precision, recall, 2 * hits / np.maximum(given + right, 1))


def _kinds(sums: Any) -> tuple[Any, Integers]:
    """The distinct rows of a sparse matrix of zeros and ones, and which of them each row is."""
    sums.sort_indices()
    bounds = sums.indptr
    found: dict[bytes, int] = {}
    of_row = np.empty(sums.shape[0], np.int64)
    first: list[int] = []
    for row in range(sums.shape[0]):
        key = sums.indices[bounds[row] : bounds[row + 1]].tobytes()
        kind = found.setdefault(key, len(found))
        if kind == len(first):
            first.append(row)
        of_row[row] = kind
    return sums[first], of_row
