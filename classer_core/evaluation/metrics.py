"""Compute metrics of predictions, from sums over rows, so that bootstrap resampling is a matrix product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from classer_core.evaluation.predictions import Floats, Integers, Predictions

BINS = 15
RESAMPLES = 1_000
RESAMPLES_AT_ONCE = 50
SEED = 0


class Figures(NamedTuple):
    """Precision, recall and F1, 0-1; the precision of a label never given and the recall of one never right are 0."""

    precision: Floats
    recall: Floats
    f1: Floats


@dataclass(frozen=True)
class LabelScores:
    """Metrics computed from sums over rows; their leading shape is that of the sums, () or (n_resamples,).

    Attributes:
        by_label: of each label.
        macro: mean over the labels that are right or given in any row.
        micro: of the answers of all labels together.
        exact: share of rows with exactly the right labels.
    """

    by_label: Figures
    macro: Figures
    micro: Figures
    exact: Floats


@dataclass(frozen=True)
class Reliability:
    """Answers in bins of equal width by confidence.

    Attributes:
        count: (BINS,) number of answers.
        confidence: (BINS,) their mean confidence; 0 for empty bins.
        accuracy: (BINS,) share of them that are right; 0 for empty bins.
    """

    count: Integers
    confidence: Floats
    accuracy: Floats

    @property
    def expected_error(self) -> float:
        """Return the expected calibration error: the mean |accuracy - confidence|, weighted by count.

        Source: Guo et al. 2017, equation 5.
        """
        weights = self.count / max(int(self.count.sum()), 1)
        return float((weights * np.abs(self.accuracy - self.confidence)).sum())


@dataclass(frozen=True)
class Curve:
    """Precision and coverage for every possible threshold, from the highest to the lowest.

    Attributes:
        threshold: the lowest confidence of the answers counted.
        precision: share of these answers that are right.
        coverage: share of rows answered in mode single, share of right labels found in mode multi.
        answers: number of these answers.
    """

    threshold: Floats
    precision: Floats
    coverage: Floats
    answers: Integers

    def reach(self, precision: float) -> int | None:
        """Return the position of the lowest threshold with at least this precision; None if there is none."""
        reached = np.flatnonzero(self.precision >= precision - 1e-12)
        return int(reached[-1]) if len(reached) else None


def row_sums(predictions: Predictions) -> Any:
    """Return what the metrics sum over rows, sparse (n_rows, 3 * n_labels + 1).

    The columns are, for each label, whether it is right and given, whether it is given, and whether it is right; and
    whether the row has exactly the right labels.
    """
    wrong = (predictions.gold - predictions.given).power(2).sum(axis=1)
    exact = sparse.csr_array((np.asarray(wrong).reshape(-1, 1) == 0).astype(np.float32))
    return sparse.hstack([predictions.hits, predictions.given, predictions.gold, exact], format="csr")


def label_scores(sums: Floats, present: Any, n_rows: int) -> LabelScores:
    """Return the metrics of summed rows.

    Args:
        sums: (..., 3 * n_labels + 1) sums of `row_sums` over rows.
        present: (n_labels,) labels that the macro averages are taken over.
        n_rows: number of rows summed.
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
    """Return sums of `row_sums` over rows drawn with replacement (n_resamples, 3 * n_labels + 1). Deterministic.

    Args:
        sums: as `row_sums` returns it.
        resamples: number of bootstrap resamples.
        seed: of the random numbers.
    """
    draw = np.random.default_rng(seed)
    n_rows = sums.shape[0]
    # Equal rows are counted together: all rows of a classifier are of a few hundred kinds.
    kinds, kind_of_row = _kinds(sums)
    totals = []
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        block = range(min(RESAMPLES_AT_ONCE, resamples - start))
        counts = [np.bincount(kind_of_row[draw.integers(0, n_rows, n_rows)], minlength=kinds.shape[0]) for _ in block]
        totals.append(np.asarray(np.stack(counts).astype(np.float64) @ kinds))
    return np.concatenate(totals)


def reliability(confidence: Floats, correct: Any) -> Reliability:
    """Return answers in the bins (0, 1/15], (1/15, 2/15], ... of their confidence.

    Args:
        confidence: (n_answers,) 0-1.
        correct: (n_answers,) whether each is right.

    >>> bins = reliability(np.array([0.95, 0.99]), np.array([True, False]))
    >>> int(bins.count[-1]), round(float(bins.confidence[-1]), 2), float(bins.accuracy[-1])
    (2, 0.97, 0.5)
    """
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    filled = np.maximum(count, 1)
    mean = np.bincount(place, confidence, BINS) / filled
    return Reliability(count, mean, np.bincount(place, correct, BINS) / filled)


def coverage_curve(predictions: Predictions) -> Curve:
    """Return precision and coverage at every confidence that occurs; answers of equal confidence count together."""
    order = np.argsort(-predictions.confidence, kind="stable")
    confidence, right = predictions.confidence[order], np.cumsum(predictions.correct[order])
    last = np.flatnonzero(np.append(confidence[1:] != confidence[:-1], True)[: len(confidence)])
    taken = last + 1
    whole = predictions.n_rows if predictions.one_of else int(predictions.gold.sum())
    coverage = (taken if predictions.one_of else right[last]) / max(whole, 1)
    return Curve(confidence[last], right[last] / taken, coverage, taken)


def confusion(predictions: Predictions) -> Integers:
    """Return counts of rows by right label (rows) and given label (columns).

    In mode multi there is one more row and column, "none". A missed label counts in the column of every wrong label of
    its row, or in column "none" if there is none. A wrong label of a row without a missed label counts in row "none".
    """
    size = len(predictions.labels)
    if predictions.one_of:
        return np.asarray((predictions.gold.T @ predictions.given).toarray(), np.int64)
    missed, extra = predictions.gold - predictions.hits, predictions.given - predictions.hits
    matrix = np.zeros((size + 1, size + 1), np.int64)
    matrix[:size, :size] = (missed.T @ extra).toarray()
    matrix[range(size), range(size)] = predictions.hits.sum(axis=0)
    matrix[:size, size] = missed[extra.sum(axis=1) == 0].sum(axis=0)
    matrix[size, :size] = extra[missed.sum(axis=1) == 0].sum(axis=0)
    matrix[size, size] = int(((predictions.gold.sum(axis=1) == 0) & (predictions.given.sum(axis=1) == 0)).sum())
    return matrix


def _figures(hits: Floats, given: Floats, right: Floats) -> Figures:
    precision, recall = hits / np.maximum(given, 1), hits / np.maximum(right, 1)
    return Figures(precision, recall, 2 * hits / np.maximum(given + right, 1))


def _kinds(sums: Any) -> tuple[Any, Integers]:
    """Return the distinct rows of a sparse matrix of zeros and ones, and for every row which of them it equals."""
    sums.sort_indices()
    bounds = sums.indptr
    kinds: dict[bytes, int] = {}
    of_row = np.empty(sums.shape[0], np.int64)
    first: list[int] = []
    for row in range(sums.shape[0]):
        key = sums.indices[bounds[row] : bounds[row + 1]].tobytes()
        kind = kinds.setdefault(key, len(kinds))
        if kind == len(first):
            first.append(row)
        of_row[row] = kind
    return sums[first], of_row
