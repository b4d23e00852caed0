"""Turn logits into one label or several, with confidences between 0 and 1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from classer_core.classifiers import Classifier
from classer_core.heads import softmax
from classer_core.records import LabelConfidence

Values = npt.NDArray[np.float32]


def choose(values: Values, classifier: Classifier) -> tuple[str, float]:
    """Return the best label and its confidence with 4 decimals; a single label with its own probability.

    Args:
        values: (n_labels,) logits in the order of the classifier's labels.
        classifier: has the labels.

    >>> choose(np.array([2.0, 0.0], np.float32), Classifier.of(["ham", "spam"]))
    ('ham', 0.8808)
    """
    chosen = int(values.argmax())
    confidence = independent(values)[0] if len(values) == 1 else exclusive(values)[chosen]
    return classifier.labels[chosen], round(float(confidence), 4)


def above_threshold(values: Values, classifier: Classifier) -> list[LabelConfidence]:
    """Return the labels whose probability is at least the classifier's threshold, best first.

    Args:
        values: (n_labels,) logits in the order of the classifier's labels.
        classifier: has the labels and the threshold.

    >>> above_threshold(np.array([2.0, -2.0], np.float32), Classifier.of(["ham", "spam"], mode="multi"))
    [LabelConfidence(label='ham', confidence=0.8808)]
    """
    confidences = independent(values)
    above = int((confidences >= classifier.threshold).sum())
    return _ranked(confidences, classifier)[:above]


def best(values: Values, classifier: Classifier, count: int) -> list[LabelConfidence]:
    """Return the `count` best labels with their confidences, best first; all labels if there are fewer.

    Args:
        values: (n_labels,) logits in the order of the classifier's labels.
        classifier: has the labels and the mode: in mode single the confidences of all labels add up to 1.
        count: at least 1.

    >>> best(np.array([2.0, 0.0], np.float32), Classifier.of(["ham", "spam"]), 2)
    [LabelConfidence(label='ham', confidence=0.8808), LabelConfidence(label='spam', confidence=0.1192)]
    """
    return _ranked(exclusive(values) if classifier.is_exclusive else independent(values), classifier)[:count]


def _ranked(confidences: npt.NDArray[np.float64], classifier: Classifier) -> list[LabelConfidence]:
    ranked = sorted(range(len(confidences)), key=lambda position: (-confidences[position], position))
    return [LabelConfidence(classifier.labels[position], round(float(confidences[position]), 4)) for position in ranked]


def exclusive(values: Values) -> npt.NDArray[np.float64]:
    """Return the probabilities (n_labels,) if exactly one label is right: the softmax of the logits.

    >>> exclusive(np.zeros(4, np.float32)).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    return softmax(values.astype(np.float64))


def independent(values: Values) -> npt.NDArray[np.float64]:
    """Return the probabilities (n_labels,) if any number of labels is right: the sigmoid of each logit.

    >>> independent(np.zeros(2, np.float32)).tolist()
    [0.5, 0.5]
    """
    return np.asarray(1 / (1 + np.exp(-values.astype(np.float64))))
