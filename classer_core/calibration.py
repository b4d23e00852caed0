"""From cosines and fitted heads to logits that mean what they say, with constants fitted on real sets.

`python -m tests.benchmarks.calibration` fits the constants anew and writes them, with where they come from, to
`calibration.json`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from classer_core.heads import Floats, Head, Vectors, softmax

FITTED = Path(__file__).with_name("calibration.json")
MAX_FACTOR = 100.0


@dataclass(frozen=True)
class Calibration:
    """Constants of all sets.

    Attributes:
        label_sharpness: one of several labels by its words: softmax of this times the cosine.
        detection_sharpness: each label for itself: sigmoid of this times the cosine above `neutral_cosine`.
        neutral_cosine: where a text and a label are as likely related as not.
        examples_factor: a head fitted on examples is multiplied by this ...
        examples_growth: ... and by the number of labels to the power of this.
        corpus_gain: of the answers that learning from a corpus changes, the share by which accuracy grows.
    """

    label_sharpness: float
    detection_sharpness: float
    neutral_cosine: float
    examples_factor: float
    examples_growth: float
    corpus_gain: float

    @classmethod
    def load(cls, path: Path = FITTED) -> Calibration:
        """The fitted file in, its constants out."""
        constants = json.loads(path.read_text(encoding="utf-8"))["constants"]
        return cls(**{field.name: float(constants[field.name]) for field in fields(cls)})

    @property
    def digest(self) -> str:
        """SHA-256 of the constants, in hex."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()

    def by_words(self, label_vectors: Vectors) -> Head:
        """Exactly one label is right, and its words are all that is known of it."""
        return Head.of_labels(label_vectors, self.label_sharpness)

    def each_alone(self, label_vectors: Vectors) -> Head:
        """Every label may be right or not."""
        return Head.of_labels(label_vectors, self.detection_sharpness, self.neutral_cosine)

    def by_examples(self, head: Head) -> Head:
        """Exactly one label is right, and the head was fitted on a few examples of each."""
        return head.scaled(self.examples_factor * len(head.bias) ** self.examples_growth)


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
