"""Scale cosines and fitted heads to calibrated logits, with constants fitted on tasks kept out of training.

`python -m tests.benchmarks.calibration` fits the constants and writes them, with their origin, to `calibration.json`.
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
# More examples per label than this do not raise the confidence further: the constants were fitted on up to this many.
MOST_SHOTS = 16


@dataclass(frozen=True)
class Calibration:
    """Constants of all classifiers, fitted on tasks that the weights were not trained on.

    Attributes:
        label_sharpness: for classifiers without examples, the factor of cosines ...
        label_growth: ... which is also multiplied by the number of labels to this power.
        detection_sharpness: for labels that are independent of each other, the factor of (cosine - `neutral_cosine`)
            in the sigmoid.
        neutral_cosine: the cosine at which a label is right with probability 0.5.
        examples: coefficients of `examples_evidence`; the dot product is the logarithm of the factor of a head fitted
            on examples.
        corpus: coefficients of `corpus_evidence`; the dot product is the log odds that an answer is right after
            learning from a corpus.
        corpus_gain: growth of accuracy per share of answers that learning from a corpus changes.
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
        """Return the constants in a file that the fit has written."""
        constants: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["constants"]
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in constants.items()
        }
        return cls(**fields)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the constants in hex."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()

    def by_words(self, label_vectors: Vectors) -> Head:
        """Return the head for texts with exactly one right label and a classifier without examples.

        Args:
            label_vectors: (n_labels, n_dimensions) unit vectors.
        """
        return Head.of_labels(label_vectors, self.label_sharpness * len(label_vectors) ** self.label_growth)

    def each_alone(self, label_vectors: Vectors) -> Head:
        """Return the head for labels that are right or wrong independently of each other.

        Args:
            label_vectors: (n_labels, n_dimensions) unit vectors.
        """
        return Head.of_labels(label_vectors, self.detection_sharpness, self.neutral_cosine)

    def by_examples(self, fitted: ExamplesHead, n_examples: int) -> Head:
        """Return the head for texts with exactly one right label, fitted on `n_examples` examples of all labels."""
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
    """Return the values that predict how reliable a head fitted on examples is.

    They are 1, the logarithm of the number of labels, the accuracy on left-out examples, the logarithm of the number of
    examples per label, and the product of both logarithms.

    >>> examples_evidence(n_labels=1, accuracy=0.75, n_examples=1)
    [1.0, 0.0, 0.75, 0.0, 0.0]
    """
    labels, shots = math.log(n_labels), math.log(min(max(n_examples / n_labels, 1), MOST_SHOTS))
    return [1.0, labels, accuracy, shots, labels * shots]


def corpus_evidence(confidence: float, stability: float) -> list[float]:
    """Return the values that predict the accuracy after learning from a corpus.

    They are 1, the log odds of the mean confidence before, and the share of answers on which both halves of the corpus
    agree.

    >>> corpus_evidence(confidence=0.5, stability=0.9)
    [1.0, 0.0, 0.9]
    """
    return [1.0, log_odds(confidence), stability]


def log_odds(probability: float) -> float:
    """Return the log odds of a probability, after limiting it to 0.02-0.98.

    >>> log_odds(0.5), round(log_odds(1.0), 2)
    (0.0, 3.89)
    """
    limited = min(max(probability, 0.02), 0.98)
    return math.log(limited / (1 - limited))


def factor_for_mean(logits: Floats, target_mean: float) -> float:
    """Return the factor of logits at which the best labels' probabilities have the mean `target_mean`.

    Args:
        logits: (n_texts, n_labels).
        target_mean: 0-1.

    >>> factor = factor_for_mean(np.array([[1.0, 0.0], [0.0, 1.0]]), 0.8)
    >>> round(factor, 3), round(float(softmax(factor * np.array([1.0, 0.0])).max()), 3)
    (1.386, 0.8)
    """
    low, high = 0.0, MAX_FACTOR
    for _ in range(50):
        middle = (low + high) / 2
        if softmax(middle * logits).max(axis=1).mean() < target_mean:
            low = middle
        else:
            high = middle
    return (low + high) / 2


CALIBRATION = Calibration.load()
