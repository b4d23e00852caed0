"""Logits in, the answer out: one label or several, with confidences between 0 and 1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from classer_core.classifiers import Classifier
from classer_core.heads import softmax
from classer_core.records import LabelConfidence

Values = npt.NDArray[np.float32]


def choose(values: Values, classifier: Classifier) -> tuple[str, float]:
    """The best label and its confidence, 4 decimals. A lone label is always returned, with its own probability."""
    best = int(values.argmax())
    confidence = related(values)[0] if len(values) == 1 else among(values)[best]
    return classifier.labels[best], round(float(confidence), 4)


def above_threshold(values: Values, classifier: Classifier) -> list[LabelConfidence]:
    """Every label at least as likely as the classifier's threshold, best first."""
    confidences = related(values)
    ranked = sorted(range(len(values)), key=lambda position: (-confidences[position], position))
    return [
        LabelConfidence(classifier.labels[position], round(float(confidences[position]), 4))
        for position in ranked
        if confidences[position] >= classifier.threshold
    ]


def among(values: Values) -> npt.NDArray[np.float64]:
    """Probabilities (n_labels,) when exactly one label is right."""
    return softmax(values.astype(np.float64))


def related(values: Values) -> npt.NDArray[np.float64]:
    """Probabilities (n_labels,) when every label may be right or not."""
    return np.asarray(1 / (1 + np.exp(-values.astype(np.float64))))
