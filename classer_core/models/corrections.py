"""Correction: what a few examples say about the scores of any model: a shift of each label and one common factor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Values = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

# Strength of the prior that a model needs no correction: the penalty, in nats, of a shift of 1 logit and of a factor of
# e is half of this number. A few examples move scores a little, fifty decide.
PRIOR_SHIFT = 1.0
PRIOR_FACTOR = 4.0


@dataclass(frozen=True)
class Correction:
    """Corrects logits: `factor * values + shifts`.

    Attributes:
        factor: of all logits; above 1 for a model that is too unsure.
        shifts: (n_labels,) for each label.
    """

    factor: float
    shifts: Floats

    def apply(self, values: Values) -> Values:
        """Return the corrected logits (n_labels,).

        >>> Correction(2.0, np.array([0.0, 1.0])).apply(np.array([1, 2], np.float32)).tolist()
        [2.0, 5.0]
        """
        return np.asarray(self.factor * values.astype(np.float64) + self.shifts, np.float32)


def fit_correction(values: Values, labels: npt.NDArray[np.int64]) -> Correction:
    """Return the correction under which the examples' own labels are most likely, drawn towards no correction.

    Args:
        values: (n_examples, n_labels) logits of the examples.
        labels: (n_examples,) positions of their labels.

    >>> always_first = np.tile(np.float32([3, 0]), (8, 1))
    >>> fit_correction(always_first, np.array([0, 1, 1, 1, 1, 1, 1, 1])).apply(always_first[0]).argmax()
    np.int64(1)
    """
    logits = values.astype(np.float64)
    rows = np.arange(len(labels))
    n_labels = logits.shape[1]

    def loss(parameters: Floats) -> tuple[float, Floats]:
        scaled = np.exp(parameters[0]) * logits
        corrected = scaled + parameters[1:]
        corrected -= corrected.max(axis=1, keepdims=True)
        weights = np.exp(corrected)
        sums = weights.sum(axis=1, keepdims=True)
        errors = weights / sums
        likelihood = (corrected[rows, labels] - np.log(sums[:, 0])).sum()
        errors[rows, labels] -= 1
        prior = np.concatenate([[PRIOR_FACTOR], np.full(n_labels, PRIOR_SHIFT)])
        gradient = np.concatenate([[(errors * scaled).sum()], errors.sum(axis=0)]) + prior * parameters
        return float(0.5 * (prior * parameters**2).sum() - likelihood), gradient

    bounds = [(-3.0, 3.0), *[(None, None)] * n_labels]
    best = minimize(loss, np.zeros(n_labels + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    return Correction(float(np.exp(best.x[0])), np.asarray(best.x[1:]))
