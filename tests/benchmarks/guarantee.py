"""How often a cascade's guarantee is missed, and how many rows its first model answers.

    python -m tests.benchmarks.guarantee [precision]

The embedded model on sets of CLASSER_CORPUS; oracle: gold. The 1,000 rows of a set are the world: each of 200 draws
takes 2,000 of them at random, with repetitions, and asks for 400 right answers; the precision is that of all rows.
Beside it the plain way: of a sample of 400, the lowest certainty of each label whose rows are right often enough.
"""

from __future__ import annotations

import sys

import numpy as np

from classer_core.guarantee import Bools, Floats, Goal, Positions, certify
from classer_core.models import EMBEDDED
from classer_core.scoring import exclusive
from tests.benchmarks.sets import LabelledSet, Remembering

SETS = ("ag_news", "bbc_news", "snips", "sms_spam", "sst2", "tweet_emotion", "banking77")
DRAWS, SAMPLED, BUDGET, CONFIDENCE = 200, 2_000, 400, 0.95
SHOTS = 8


def naive_limits(predicted: Positions, certainties: Floats, right: Bools, n_labels: int, precision: float) -> Floats:
    """Return the lowest certainty (n_labels,) of each label from which its rows of a sample are precise enough."""
    limits = np.full(n_labels, np.inf)
    for label in range(n_labels):
        own = np.flatnonzero(predicted == label)
        own = own[np.argsort(-certainties[own])]
        reached = np.flatnonzero(np.cumsum(right[own]) >= precision * np.arange(1, len(own) + 1))
        if len(reached):
            limits[label] = certainties[own[reached[-1]]]
    return limits


def main() -> None:
    """Print a row for each set, with label names and with 8 examples a label."""
    goal = Goal(float(sys.argv[1]) if sys.argv[1:] else 0.95, CONFIDENCE, BUDGET)
    model = Remembering.load(EMBEDDED)
    print(
        f"precision {goal.precision:.0%}, confidence {goal.confidence:.0%}, {goal.budget} right answers, {DRAWS} draws"
    )
    print("| set | examples | labels | accuracy | answered by the first | missed | plain way: answered | missed |")
    print("|---|---|---|---|---|---|---|---|")
    for name in SETS:
        for shots in (0, SHOTS):
            data = LabelledSet(name)
            classifier = data.classifier(examples=data.shots(shots) if shots else None)
            shares = exclusive(np.asarray(model.head(classifier).logits(model.embed(data.texts)), np.float32))
            predicted, certainties = shares.argmax(axis=1), shares.max(axis=1)
            right = predicted == data.gold
            columns = _measured(predicted, certainties, right, len(classifier.labels), goal)
            cells = " | ".join(f"{100 * share:.1f}%" for share in columns)
            print(f"| {name} | {shots} | {len(classifier.labels)} | {right.mean():.1%} | {cells} |", flush=True)


def _measured(predicted: Positions, certainties: Floats, right: Bools, n_labels: int, goal: Goal) -> list[float]:
    """Return shares of rows answered and of draws missed, with the guarantee and the plain way."""
    rng = np.random.default_rng(0)
    outcomes: list[list[float]] = []
    for _ in range(DRAWS):
        rows = rng.integers(0, len(right), SAMPLED)
        known = right[rows]
        found = certify(predicted[rows], certainties[rows], n_labels, lambda asked, own=known: own[list(asked)], goal)
        few = rows[: goal.budget]
        plain = naive_limits(predicted[few], certainties[few], right[few], n_labels, goal.precision)
        outcome: list[float] = []
        for limits in (found.limits, plain):
            trusted = certainties >= limits[predicted]
            outcome += [trusted.mean(), bool(trusted.any()) and right[trusted].mean() < goal.precision]
        outcomes.append(outcome)
    return [float(share) for share in np.mean(outcomes, axis=0)]


if __name__ == "__main__":
    main()
