"""From cosines and fitted heads to logits that mean what they say, with constants fitted on kept-out tasks.

`python -m tests.benchmarks.calibration` fits the constants anew and writes them, with where they come from, to
`calibration.json`.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classer_core.examples_head import ExamplesHead
from classer_core.heads import Floats, Head, Vectors, softmax

FITTED = Path(__file__).with_name("calibration.json")
MAX_FACTOR = 100.0
# More examples a label than these make a head no more certain: the fit has not seen more.
MOST_SHOTS = 16


@dataclass(frozen=True)
class Calibration:
    """Constants of all classifiers, fitted on tasks that the weights were not trained on.

    Attributes:
        label_sharpness: where label words are all that is known, cosines are multiplied by this ...
        label_growth: ... and by the number of labels to the power of this.
        detection_sharpness: each label for itself: sigmoid of this times the cosine above `neutral_cosine`.
        neutral_cosine: where a text and a label are as likely related as not.
        examples: the logarithm of the factor of a head fitted on examples is the product of these with: 1, the
            logarithm of the number of labels, the share of examples that are right when left out, the logarithm of the
            number of examples a label, and the product of both logarithms.
        corpus: after learning from a corpus, the log odds that an answer is right are the product of these with: 1, the
            log odds of the mean confidence before, and the share of answers on which halves of the corpus agree.
        corpus_gain: of the answers that learning from a corpus changes, the share by which accuracy grows.
    """

    label_sharpness: float
    label_growth: float
    detection_sharpness: float
    neutral_cosine: float
    examples: tuple[float, ...]
    corpus: tuple[float, ...]
    corpus_gain: float

    @classmethod
    def load(cls, path: Path = FITTED) -> Calibration:
        """Return the constants of a fitted file."""
        constants: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["constants"]
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in constants.items()
        }
        return cls(**known)

    @property
    def digest(self) -> str:
        """SHA-256 of the constants, in hex."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()

    def by_words(self, label_vectors: Vectors) -> Head:
        """Return the head for exactly one right label, of which its words are all that is known."""
        return Head.of_labels(label_vectors, self.label_sharpness * len(label_vectors) ** self.label_growth)

    def each_alone(self, label_vectors: Vectors) -> Head:
        """Return the head for labels of which every one may be right or not."""
        return Head.of_labels(label_vectors, self.detection_sharpness, self.neutral_cosine)

    def by_examples(self, fitted: ExamplesHead, n_examples: int) -> Head:
        """Return the head for exactly one right label, fitted on so many examples of all labels together."""
        evidence = examples_evidence(len(fitted.head.bias), fitted.accuracy, n_examples)
        return fitted.head.scaled(float(np.exp(np.dot(self.examples, evidence))))

    def corpus_accuracy(self, confidence: float, stability: float) -> float:
        """Return the share of answers expected to be right after learning from a corpus without labels.

        Args:
            confidence: mean confidence of the answers before.
            stability: share of the answers on which two halves of the corpus agree.
        """
        return float(1 / (1 + np.exp(-np.dot(self.corpus, corpus_evidence(confidence, stability)))))


def examples_evidence(n_labels: int, accuracy: float, n_examples: int) -> list[float]:
    """Return what is known of the quality of a head fitted on examples; see `Calibration.examples`."""
    labels, shots = math.log(n_labels), math.log(min(max(n_examples / n_labels, 1), MOST_SHOTS))
    return [1.0, labels, accuracy, shots, labels * shots]


def corpus_evidence(confidence: float, stability: float) -> list[float]:
    """Return what is known of the quality of what a corpus taught; see `Calibration.corpus`."""
    return [1.0, log_odds(confidence), stability]


def log_odds(probability: float) -> float:
    """Return the log odds of a probability, which is kept away from 0 and 1.

    >>> log_odds(0.5), round(log_odds(1.0), 2)
    (0.0, 3.89)
    """
    kept = min(max(probability, 0.02), 0.98)
    return math.log(kept / (1 - kept))


def factor_for_mean(logits: Floats, wanted: float) -> float:
    """The factor of logits (n_texts, n_labels) at which the best labels' probabilities have the mean `wanted`."""
    low, high = 0.0, MAX_FACTOR
    for _ in range(50):
        middle = (low + high) / 2
        if softmax(middle * logits).max(axis=1).mean() < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


CALIBRATION = Calibration.load()
