"""Fits the constants of `classer_core/calibration.json`, and says what they do on tasks that they were not fitted on.

    CLASSER_CORPUS=... python -m tests.benchmarks.calibration [MODEL]

Run it again whenever the embedded weights change. The constants are fitted on the tasks of the pools that the weights
were never trained on; the report leaves each task, and those that share its texts, out of the fit that judges it.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from classer_core.calibration import FITTED, Calibration, corpus_evidence, examples_evidence, factor_for_mean
from classer_core.evaluation.metrics import reliability
from classer_core.examples_head import fit_examples
from classer_core.heads import CORPUS_PRIOR_SHARPNESS, Floats, Head, Labelled, Vectors, fit_corpus, softmax
from classer_core.models import EMBEDDED
from tests.benchmarks.sets import KeptOut, Remembering, kept_out, related

Positions = npt.NDArray[np.int64]

SHOTS = (1, 2, 4, 8)
SHARPNESSES = np.geomspace(4, 60, 40)
NEUTRALS = np.linspace(0, 0.95, 39)
GROWTHS = np.linspace(-0.2, 0.8, 21)
SCALES = np.geomspace(1, 400, 120)
FACTORS = np.geomspace(0.1, 12, 70)
# Pull of what is fitted to 0, in squares of a standard deviation or in counts of tasks.
PULL = 0.01
CORPUS_PULL = 0.5

# Labels that are not a text's, to one that is.
WRONG_A_RIGHT = 3


@dataclass(frozen=True)
class Few:
    """A head fitted on a few examples a label: what is known of it, and its scores of the texts."""

    shots: int
    evidence: list[float]
    scores: Floats


@dataclass(frozen=True)
class Observed:
    """One task as the fit sees it; scores are (n_texts, n_labels)."""

    name: str
    judges: bool
    gold: Positions
    cosines: Floats
    few: list[Few]
    adapted: Floats
    stability: float

    @cached_property
    def losses(self) -> Floats:
        """Log loss of label names alone under each of `SCALES`."""
        return np.array([log_loss(scale * self.cosines, self.gold) for scale in SCALES])

    @cached_property
    def best_factors(self) -> list[float]:
        """The factor that suits each of the heads of few examples best."""
        return [min(FACTORS, key=lambda factor: log_loss(factor * few.scores, self.gold)) for few in self.few]


def observe(name: str, judges: bool, words: Vectors, texts: Vectors, gold: Positions, shown: Labelled) -> Observed:
    """Return what is seen of a task with label vectors `words` and texts; `shown` are its examples."""
    prior = Head.of_labels(words, CORPUS_PRIOR_SHARPNESS)
    halves = [fit_corpus(prior, texts[start::2]).logits(texts).argmax(axis=1) for start in (0, 1)]
    return Observed(
        name=name,
        judges=judges,
        gold=gold,
        cosines=np.asarray(texts @ words.T, np.float64),
        few=list(_few(words, texts, shown)),
        adapted=fit_corpus(prior, texts).logits(texts),
        stability=float((halves[0] == halves[1]).mean()),
    )


def _few(words: Vectors, texts: Vectors, shown: Labelled) -> Iterator[Few]:
    place = np.array([int((shown.labels[:n] == label).sum()) for n, label in enumerate(shown.labels)])
    for shots in SHOTS:
        some = shown.rows(place < shots)
        fitted = fit_examples(words, some)
        yield Few(shots, examples_evidence(len(words), fitted.accuracy, len(some)), fitted.head.logits(texts))


def fit(tasks: Sequence[Observed]) -> Calibration:
    """Return constants under which answers are as often right as they say; every task counts the same."""
    sharpness, growth = min(
        ((sharpness, growth) for sharpness in SHARPNESSES for growth in GROWTHS),
        key=lambda pair: np.mean([_loss(one, pair[0] * _labels(one) ** pair[1]) for one in tasks]),
    )
    detection, neutral = fit_detection(tasks)
    evidence = np.array([few.evidence for one in tasks for few in one.few])
    factors = np.log([factor for one in tasks for factor in one.best_factors])
    before = [float(softmax(sharpness * _labels(one) ** growth * one.cosines).max(axis=1).mean()) for one in tasks]
    seen = np.array([corpus_evidence(value, one.stability) for value, one in zip(before, tasks, strict=True)])
    odds = np.array([_log_odds_right(one) for one in tasks])
    changed = [one.adapted.argmax(axis=1) != one.cosines.argmax(axis=1) for one in tasks]
    gains = [_accuracy(one.adapted, one.gold) - _accuracy(one.cosines, one.gold) for one in tasks]
    return Calibration(
        label_sharpness=round(float(sharpness), 4),
        label_growth=round(float(growth), 4),
        detection_sharpness=round(detection, 4),
        neutral_cosine=round(neutral, 4),
        examples=_rounded(_ridge(evidence, factors, PULL)),
        corpus=_rounded(_ridge(seen, odds, CORPUS_PULL)),
        corpus_gain=round(float(np.clip(sum(gains) / sum(float(one.mean()) for one in changed), 0, 1)), 4),
    )


def _labels(one: Observed) -> int:
    return one.cosines.shape[1]


def _accuracy(scores: Floats, gold: Positions) -> float:
    return float((scores.argmax(axis=1) == gold).mean())


def _log_odds_right(one: Observed) -> float:
    share = float(np.clip(_accuracy(one.adapted, one.gold), 0.02, 0.98))
    return float(np.log(share / (1 - share)))


def _ridge(evidence: Floats, wanted: Floats, pull: float) -> Floats:
    """Return the weights of standardised columns of evidence, of which the first is 1 and is not pulled to 0."""
    middle, spread = evidence.mean(axis=0), evidence.std(axis=0)
    middle[0], spread[0] = 0, 1
    columns = (evidence - middle) / np.where(spread > 0, spread, 1)
    pulls = np.diag([0.0] + [pull] * (columns.shape[1] - 1))
    weights = np.linalg.solve(columns.T @ columns + pulls, columns.T @ wanted) / np.where(spread > 0, spread, 1)
    weights[0] -= float(weights[1:] @ middle[1:])
    return np.asarray(weights)


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def _loss(one: Observed, scale: float) -> float:
    return float(np.interp(np.log(scale), np.log(SCALES), one.losses))


def log_loss(logits: Floats, gold: Positions) -> float:
    """Return the mean surprise at whether the best label was right."""
    probabilities = np.clip(softmax(logits).max(axis=1), 1e-4, 1 - 1e-4)
    right = logits.argmax(axis=1) == gold
    return float(-np.log(np.where(right, probabilities, 1 - probabilities)).mean())


def fit_detection(tasks: Sequence[Observed]) -> tuple[float, float]:
    """Return sharpness and neutral cosine of logistic regression, as if one label in four were right in every task."""
    yes, no = [], []
    for one in tasks:
        right = np.eye(_labels(one), dtype=bool)[one.gold]
        yes.append(np.quantile(one.cosines[right], np.linspace(0, 1, 201)))
        no.append(np.quantile(one.cosines[~right], np.linspace(0, 1, 201)))
    positive, negative = np.concatenate(yes), np.concatenate(no)

    def loss(sharpness: float, neutral: float) -> float:
        return float(
            np.logaddexp(0, -sharpness * (positive - neutral)).mean()
            + WRONG_A_RIGHT * np.logaddexp(0, sharpness * (negative - neutral)).mean()
        )

    grid = ((sharpness, neutral) for sharpness in SHARPNESSES for neutral in NEUTRALS)
    sharpness, neutral = min(grid, key=lambda pair: loss(*pair))
    return float(sharpness), float(neutral)


def crossfitted(tasks: Sequence[Observed], same: Callable[[str], str]) -> dict[str, list[tuple[float, float]]]:
    """Return (calibration error, AUROC) of each judging task by label names, 8 examples and adapted.

    Args:
        tasks: all of them.
        same: returns a name that tasks with the same texts share.
    """
    found = {}
    for one in tasks:
        if one.judges:
            constants = fit([other for other in tasks if same(other.name) != same(one.name)])
            by_words = constants.label_sharpness * _labels(one) ** constants.label_growth * one.cosines
            few = one.few[-1]
            by_examples = np.exp(np.dot(constants.examples, few.evidence)) * few.scores
            confidence = float(softmax(by_words).max(axis=1).mean())
            expected = constants.corpus_accuracy(confidence, one.stability)
            adapted = factor_for_mean(one.adapted, expected) * one.adapted
            found[one.name] = [(error(x, one.gold), auroc(x, one.gold)) for x in (by_words, by_examples, adapted)]
    return found


def error(logits: Floats, gold: Positions) -> float:
    """Return the expected calibration error of the best labels."""
    return reliability(softmax(logits).max(axis=1), logits.argmax(axis=1) == gold).expected_error


def auroc(logits: Floats, gold: Positions) -> float:
    """Return how likely an answer that is right is surer than one that is wrong."""
    return area(softmax(logits).max(axis=1), logits.argmax(axis=1) == gold)


def area(scores: Floats, wanted: npt.NDArray[np.bool_]) -> float:
    """Return how likely a wanted one has a higher score than another one; ties count half.

    >>> area(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    higher, lower = scores[wanted], np.sort(scores[~wanted])
    if not len(higher) or not len(lower):
        return 0.5
    below = np.searchsorted(lower, higher, "left") + np.searchsorted(lower, higher, "right")
    return float(below.mean() / 2 / len(lower))


def write(tasks: Sequence[Observed], model: str, same: Callable[[str], str]) -> None:
    """Fit, print the report, and write the constants."""
    constants, found = fit(tasks), crossfitted(tasks, same)
    ways = ("label names", "8 examples", "adapted")
    table = Table("left out of the fit: ECE, AUROC", *ways, box=None)
    for name, values in found.items():
        table.add_row(name, *(f"{one:.3f} {other:.3f}" for one, other in values))
    means = np.mean(list(found.values()), axis=0)
    table.add_row("mean", *(f"{one:.3f} {other:.3f}" for one, other in means))
    Console(width=110).print(table)
    errors = {
        f"{way}, {kind}": round(float(value), 4)
        for way, pair in zip(ways, means, strict=True)
        for kind, value in zip(("error", "AUROC"), pair, strict=True)
    }
    document = {
        "constants": vars(constants),
        "fitted": {
            "script": "tests/benchmarks/calibration.py",
            "model": model,
            "date": datetime.date.today().isoformat(),
            "tasks": [one.name for one in tasks],
            "left_out": errors,
        },
    }
    FITTED.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{vars(constants)} written to {FITTED}")


def main(name: str) -> None:
    """Read the tasks, fit, print and write."""
    logging.disable(logging.WARNING)
    model = Remembering.load(name)
    tasks = [_read(model, task, True) for task in kept_out()] + [_read(model, task, False) for task in related()]
    write(tasks, model.id, KeptOut.source_of)


def _read(model: Remembering, task: KeptOut, judges: bool) -> Observed:
    words = model.label_vectors(task.classifier())
    shown = model.examples(task.classifier(examples=task.shots(max(SHOTS))))
    return observe(task.name, judges, words, model.embed(task.texts), task.gold, shown)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else EMBEDDED)
