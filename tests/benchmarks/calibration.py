"""Fits the constants of `classer_core/calibration.json`, and says what they do on sets that they were not fitted on.

    CLASSER_CORPUS=... python -m tests.benchmarks.calibration [MODEL]

Run it again whenever the embedded weights change. The report is cross-fitted: every other set's constants, on the rest.
The file's constants are fitted on all of the sets.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from classer_core.calibration import FITTED, Calibration
from classer_core.evaluation.metrics import calibrate
from classer_core.heads import CORPUS_PRIOR_SHARPNESS, Floats, Head, fit_corpus, fit_examples, softmax
from classer_core.models import EMBEDDED
from tests.benchmarks.sets import SHOTS, LabelledSet, Remembering, english

SHARPNESSES = np.geomspace(4, 60, 80)
FACTORS = np.geomspace(0.3, 6, 60)
GROWTHS = np.linspace(-0.2, 0.6, 17)

# Labels that are not a text's, to one that is.
WRONG_A_RIGHT = 3


@dataclass
class Observed:
    """What the fit sees of one set."""

    name: str
    pooled: bool
    gold: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    cosines: Floats
    by_examples: Floats
    changed: float
    accuracy: float
    gain: float


def observe(model: Remembering, labelled: LabelledSet) -> Observed:
    """One set, read."""
    classifier = labelled.classifier(examples=labelled.shots(SHOTS))
    words = model.label_vectors(labelled.classifier())
    texts = model.embed(labelled.texts)
    cosines = np.asarray(texts @ words.T, np.float64)
    prior = Head.of_labels(words, CORPUS_PRIOR_SHARPNESS)
    before, after = cosines.argmax(axis=1), fit_corpus(prior, texts).logits(texts).argmax(axis=1)
    accuracy = float((before == labelled.gold).mean())
    return Observed(
        name=labelled.name,
        pooled=labelled.pooled,
        gold=labelled.gold,
        cosines=cosines,
        by_examples=fit_examples(words, model.examples(classifier)).logits(texts),
        changed=float((before != after).mean()),
        accuracy=accuracy,
        gain=float((after == labelled.gold).mean()) - accuracy,
    )


def fit(sets: Sequence[Observed]) -> Calibration:
    """Constants under which answers are as often right as they say (log loss, every set counts the same)."""
    sharpness = min(SHARPNESSES, key=lambda value: np.mean([log_loss(value * one.cosines, one.gold) for one in sets]))
    factor, growth = min(
        ((factor, growth) for factor in FACTORS for growth in GROWTHS),
        key=lambda pair: np.mean(
            [log_loss(pair[0] * one.by_examples.shape[1] ** pair[1] * one.by_examples, one.gold) for one in sets]
        ),
    )
    detection, neutral = fit_detection(sets)
    gain = sum(one.gain for one in sets) / sum(one.changed * (1 - one.accuracy) for one in sets)
    constants = (sharpness, detection, neutral, factor, growth, float(np.clip(gain, 0, 1)))
    return Calibration(*(round(float(value), 4) for value in constants))


def log_loss(logits: Floats, gold: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> float:
    """Mean surprise at whether the best label was right."""
    probabilities = np.clip(softmax(logits).max(axis=1), 1e-4, 1 - 1e-4)
    right = logits.argmax(axis=1) == gold
    return float(-np.log(np.where(right, probabilities, 1 - probabilities)).mean())


def fit_detection(sets: Sequence[Observed]) -> tuple[float, float]:
    """Sharpness and neutral cosine of logistic regression, as if one label in four were right, whatever the set."""
    yes, no = [], []
    for one in sets:
        right = np.eye(one.cosines.shape[1], dtype=bool)[one.gold]
        yes.append(np.quantile(one.cosines[right], np.linspace(0, 1, 201)))
        no.append(np.quantile(one.cosines[~right], np.linspace(0, 1, 201)))
    positive, negative = np.concatenate(yes), np.concatenate(no)

    def loss(sharpness: float, neutral: float) -> float:
        return float(
            np.logaddexp(0, -sharpness * (positive - neutral)).mean()
            + WRONG_A_RIGHT * np.logaddexp(0, sharpness * (negative - neutral)).mean()
        )

    grid = ((sharpness, neutral) for sharpness in SHARPNESSES for neutral in np.linspace(0, 0.6, 61))
    return min(grid, key=lambda pair: loss(*pair))


def crossfitted(sets: Sequence[Observed]) -> dict[str, tuple[float, float]]:
    """Calibration errors of each set, by words and by examples, with constants of the other half."""
    errors = {}
    for half in (0, 1):
        constants = fit(sets[1 - half :: 2])
        for one in sets[half::2]:
            examples = constants.examples_factor * one.by_examples.shape[1] ** constants.examples_growth
            errors[one.name] = (
                error(constants.label_sharpness * one.cosines, one.gold),
                error(examples * one.by_examples, one.gold),
            )
    return errors


def error(logits: Floats, gold: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> float:
    """Expected calibration error of the best labels."""
    return calibrate(softmax(logits).max(axis=1), logits.argmax(axis=1) == gold).expected_error


def main(name: str) -> None:
    """Fits, prints and writes."""
    logging.disable(logging.WARNING)
    model = Remembering.load(name)
    sets = [observe(model, labelled) for labelled in english()]
    constants, errors = fit(sets), crossfitted(sets)
    table = Table("calibration error, cross-fitted", "label names", "8 examples", box=None)
    for one in sets:
        by_words, by_examples = errors[one.name]
        table.add_row(one.name + (" (pool)" if one.pooled else ""), f"{by_words:.3f}", f"{by_examples:.3f}")
    means = np.mean([errors[one.name] for one in sets if not one.pooled], axis=0)
    table.add_row("mean without pool", f"{means[0]:.3f}", f"{means[1]:.3f}")
    Console(width=110).print(table)
    document = {
        "constants": vars(constants),
        "fitted": {
            "script": "tests/benchmarks/calibration.py",
            "model": model.id,
            "date": datetime.date.today().isoformat(),
            "sets": [one.name for one in sets],
            "crossfitted_error_label_names": round(float(means[0]), 4),
            "crossfitted_error_examples": round(float(means[1]), 4),
        },
    }
    FITTED.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{vars(constants)} written to {FITTED}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else EMBEDDED)
