"""Guarantee: which answers of a model are right at least as often as wanted, proven on a sample of known answers.

A part of the sample says how often answers of each label and certainty are right. This orders all rows from the most
to the least trusted, and gives regions of them, each inside the next: the rows whose certainty is at least the limit of
their predicted label. The rest of the sample, drawn from the largest region and not looked at before, tests them. The
rows of a region are a random sample of it, so that the number of right ones is binomial: the test is exact for any
sample size, and holds whatever the first part has learned, for any number of labels.

The tests are a fallback procedure: each region has a share of the allowed error, and hands it on to the next larger
one if it passes, so that the probability that any region passes wrongly is at most 1 - confidence.

Sources: SUPG, arXiv 2004.00827, and BARGAIN, arXiv 2509.02896, for limits with guarantees from a sample that an oracle
labels; Learn then Test, arXiv 2110.01052, for the tests; Wiens and Dmitrienko, J. Biopharm. Stat. 15 (2005), for the
fallback procedure.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# Returns whether the model's answers to the rows at these positions are right.
Oracle = Callable[[Sequence[int]], Bools]

# Share of the rows that says where to look; the rest proves.
LEARNING_SHARE = 0.25
# Sizes of the regions, as shares of the largest one.
REGIONS = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
# By which share of the allowed errors the largest region is expected to stay below them: a precision that is just what
# is wanted can't be proven with a few hundred rows.
CAUTION = 0.25
# The largest region has at least this share of the rows.
LEAST_REGION = 0.1
# Strength of the prior that labels do not differ, and that certainties mean what they say.
PRIOR_LABEL, PRIOR_SLOPE, PRIOR_SHIFT = 1.0, 1.0, 0.1
LEAST_CERTAINTY = 1e-6
DECIMALS = 5


@dataclass(frozen=True)
class Goal:
    """What is wanted of the answers that are trusted.

    Attributes:
        precision: share of right ones (0-1), at least.
        confidence: probability (0-1) of reaching it.
        budget: rows whose right answer may be asked for.
    """

    precision: float
    confidence: float
    budget: int


@dataclass(frozen=True)
class Certificate:
    """The largest region that has passed.

    Attributes:
        limits: (n_labels,) the lowest certainty that is trusted for each predicted label; infinite for none. All are
            infinite if no region has passed.
        rows: rows whose right answer was asked for.
        proven_on: those of them that the proof rests on.
        answered: share of all rows that are in the region.
    """

    limits: Floats
    rows: int
    proven_on: int
    answered: float


def certify(predicted: Positions, certainties: Floats, n_labels: int, oracle: Oracle, goal: Goal) -> Certificate:
    """Return the limits under which a model's answers have the wanted precision. Deterministic.

    Args:
        predicted: (n_rows,) the model's labels of a random sample of the rows that it will answer.
        certainties: (n_rows,) their probabilities by the model, 0-1.
        n_labels: number of labels.
        oracle: is asked twice.
        goal: what is wanted.
    """
    order = list(range(len(predicted)))
    random.Random(0).shuffle(order)
    budget = min(goal.budget, len(order))
    learned_on = order[: int(budget * LEARNING_SHARE)]
    expected = _Expected.fit(predicted[learned_on], certainties[learned_on], oracle(learned_on), n_labels)
    regions = _regions(predicted, certainties, expected, goal.precision)
    largest = regions[-1]
    inside = certainties >= largest[predicted]
    drawn = [row for row in order[len(learned_on) :] if inside[row]][: budget - len(learned_on)]
    right = oracle(drawn)
    passed = _largest_passed([certainties[drawn] >= region[predicted[drawn]] for region in regions], right, goal)
    limits = np.full(n_labels, np.inf) if passed is None else regions[passed]
    trusted = certainties >= limits[predicted]
    return Certificate(limits, len(learned_on) + len(drawn), len(drawn), float(trusted.mean()) if len(trusted) else 0.0)


def _largest_passed(regions: Sequence[Bools], right: Bools, goal: Goal) -> int | None:
    """Return the position of the largest region whose precision is proven; None if there is none.

    Args:
        regions: which rows (n_rows,) are in each region, the smallest first.
        right: (n_rows,) which answers are right.
        goal: what is wanted.
    """
    from scipy.special import bdtrc

    share = (1 - goal.confidence) / len(regions)
    allowed, passed = share, None
    for position, inside in enumerate(regions):
        n_rows, n_right = int(inside.sum()), int(right[inside].sum())
        # The probability of so many right answers if the precision is just not reached.
        chance = float(bdtrc(n_right - 1, n_rows, goal.precision)) if n_right > 0 else 1.0
        if chance <= allowed:
            passed, allowed = position, allowed + share
        else:
            allowed = share
    return passed


@dataclass(frozen=True)
class _Expected:
    """How often answers are right: the log odds are `slope * (log odds of the certainty) + shifts[label]`.

    Attributes:
        slope: above 0.
        shifts: (n_labels,).
    """

    slope: float
    shifts: Floats

    @classmethod
    def fit(cls, predicted: Positions, certainties: Floats, right: Bools, n_labels: int) -> _Expected:
        """Return what rows with known answers say, drawn towards certainties that mean what they say."""
        from scipy.optimize import minimize

        odds, signs = _log_odds(certainties), np.where(right, 1.0, -1.0)

        def loss(parameters: Floats) -> tuple[float, Floats]:
            slope, shift, shifts = np.exp(parameters[0]), parameters[1], parameters[2:]
            margins = signs * (slope * odds + shift + shifts[predicted])
            pull = -signs / (1 + np.exp(np.clip(margins, -500, 500)))
            by_label = np.bincount(predicted, pull, n_labels)
            gradient = np.concatenate([[slope * (pull * odds).sum(), pull.sum()], by_label])
            prior = np.concatenate([[PRIOR_SLOPE, PRIOR_SHIFT], np.full(n_labels, PRIOR_LABEL)])
            penalty = 0.5 * float((prior * parameters**2).sum())
            return penalty + float(np.logaddexp(0, -margins).sum()), gradient + prior * parameters

        bounds = [(-3.0, 3.0), *[(None, None)] * (n_labels + 1)]
        best = minimize(loss, np.zeros(n_labels + 2), jac=True, method="L-BFGS-B", bounds=bounds).x
        return cls(float(np.exp(best[0])), best[1] + best[2:])

    def odds(self, predicted: Positions, certainties: Floats) -> Floats:
        """Return the log odds (n_rows,) that answers are right."""
        return np.asarray(self.slope * _log_odds(certainties) + self.shifts[predicted])

    def limits(self, odds: float) -> Floats:
        """Return the certainties (n_labels,) from which answers have at least these log odds, rounded up."""
        limits = 1 / (1 + np.exp(-np.clip((odds - self.shifts) / self.slope, -500, 500)))
        return np.asarray(np.ceil(limits * 10**DECIMALS) / 10**DECIMALS)


def _regions(predicted: Positions, certainties: Floats, expected: _Expected, precision: float) -> list[Floats]:
    """Return the limits (n_labels,) of each region, the smallest first."""
    odds = np.sort(expected.odds(predicted, certainties))[::-1]
    shares = np.cumsum(1 / (1 + np.exp(-odds))) / np.arange(1, len(odds) + 1)
    hoped = precision + CAUTION * (1 - precision)
    largest = max(int((shares >= hoped).sum()), int(LEAST_REGION * len(odds)), 1)
    return [expected.limits(float(odds[max(int(share * largest), 1) - 1])) for share in REGIONS]


def _log_odds(shares: Floats) -> Floats:
    clipped = np.clip(shares, LEAST_CERTAINTY, 1 - LEAST_CERTAINTY)
    return np.asarray(np.log(clipped / (1 - clipped)))
