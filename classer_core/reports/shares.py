"""Shares of labels in a whole output, corrected for mistakes by some rows whose right labels are known.

The difference estimator of survey sampling, with the answers of all rows as the auxiliary value (Cochran 1977, chapter
7), which is prediction-powered inference with power tuning for a finite population (Angelopoulos, Duchi and Zrnic
2023, arXiv:2311.01453):

    share = mean of y + factor * (mean of f over all rows - mean of f)

Means without "all" are over the gold rows, with their weights; y is whether a label is right, f what the answer says of
it, and the factor the slope of y by f, between 0 and 1. The gold rows must be drawn by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t

CONFIDENCE = 0.95
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """The share of one label among all rows, 0-1.

    Attributes:
        label: its name.
        share: corrected for the classifier's mistakes.
        error: half width of its 95% interval, before it is cut at 0 and 1.
        counted: the share of rows that the classifier gave this label.
        gold: the share in the gold rows alone.
        gold_error: half width of the 95% interval that the gold rows alone give.
    """

    label: str
    share: float
    error: float
    counted: float
    gold: float
    gold_error: float

    @property
    def low(self) -> float:
        """Return the lower end of the interval."""
        return max(0.0, self.share - self.error)

    @property
    def high(self) -> float:
        """Return the upper end of the interval."""
        return min(1.0, self.share + self.error)


def estimate_shares(
    labels: Sequence[str],
    right: Floats,
    said: Floats,
    said_of_all: Floats,
    counted: Floats,
    rows: int,
    weights: Floats | None = None,
) -> list[Share]:
    """Return the share of each label.

    Args:
        labels: names.
        right: (n_gold, n_labels), 1 where the label is right, else 0.
        said: (n_gold, n_labels), how likely the label is by the answer to the row, 0-1.
        said_of_all: (n_labels,), the mean of that over all rows.
        counted: (n_labels,), share of all rows that the classifier gave the label.
        rows: number of all rows, the gold ones among them.
        weights: (n_gold,) of the gold rows: one over the probability with which each was drawn; None if all are equal.

    Raises:
        ValueError: there are fewer than three gold rows.
    """
    if len(right) < 3:
        raise ValueError(f"shares need at least 3 gold rows, got {len(right)}")
    weight = np.ones(len(right)) if weights is None else weights
    weight = weight / weight.sum()
    found = []
    for place, label in enumerate(labels):
        y, f = right[:, place], said[:, place]
        mean_y, mean_f = float(weight @ y), float(weight @ f)
        covariance, variance = float(weight @ ((y - mean_y) * (f - mean_f))), float(weight @ (f - mean_f) ** 2)
        factor = min(max(covariance / variance, 0.0), 1.0) if variance > 0 else 0.0
        share = mean_y + factor * (float(said_of_all[place]) - mean_f)
        alone = _error(y - mean_y, weight, rows)
        # As the jackknife does it: a row that decides the slope itself looks better predicted than it is.
        leverage = weight + (weight * (f - mean_f) ** 2 / variance if variance > 0 else 0.0)
        error = _error((y - mean_y - factor * (f - mean_f)) / np.maximum(1 - leverage, 0.1), weight, rows)
        given = float(counted[place])
        found.append(Share(label, min(max(share, 0.0), 1.0), min(error, alone), given, mean_y, alone))
    return sorted(found, key=lambda item: -item.share)


def _error(left: Floats, weight: Floats, rows: int) -> float:
    """Return the half width of a 95% interval of a mean, from what is left of its values.

    One more mistake is assumed than was seen: of a rare label few mistakes or none are among the gold rows, and they
    look surer than they are. In simulations of 60 to 300 gold rows this gives 95% intervals (`test_shares.py`).
    """
    squares = weight**2
    effective = 1 / float(squares.sum())
    variance = (float(squares @ left**2) + float(squares.max())) * effective / max(effective - 2, 1)
    finite = max(0.0, 1 - len(left) / max(rows, 1))
    return float(t.ppf((1 + CONFIDENCE) / 2, max(effective - 2, 1))) * float(np.sqrt(variance * finite))
