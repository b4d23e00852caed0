"""Label vectors and heads of classifiers, and the scores of texts by these heads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from classer_core.calibration import CALIBRATION
from classer_core.classifiers import Classifier
from classer_core.examples_head import fit_examples
from classer_core.heads import Head, Labelled, Vectors, unit
from classer_core.models import Scores

HEADS_CACHED = 1_024
# A label's words weigh as much as four examples.
LABEL_WEIGHT_IN_EXAMPLES = 4

Embed = Callable[[Sequence[str]], Vectors]


class LabelHeads:
    """Label vectors and heads of classifiers, cached per classifier.

    Args:
        embed_labels: returns unit vectors (n_texts, n_dimensions) of label names and descriptions.
        embed_texts: returns unit vectors (n_texts, n_dimensions) of texts to classify.
    """

    def __init__(self, embed_labels: Embed, embed_texts: Embed) -> None:
        self._embed_labels = embed_labels
        self._embed_texts = embed_texts
        self.vectors = lru_cache(maxsize=HEADS_CACHED)(self._combine)
        self.head = lru_cache(maxsize=HEADS_CACHED)(self._fit)

    def examples(self, classifier: Classifier) -> Labelled:
        """Return the vectors of the classifier's examples, with the positions of their labels."""
        texts = [text for _, label_texts in classifier.examples for text in label_texts]
        labels = [classifier.labels.index(label) for label, label_texts in classifier.examples for _ in label_texts]
        vectors = self._embed_texts(texts) if texts else self.vectors(classifier)[:0]
        return Labelled(vectors, np.array(labels, dtype=np.int64))

    def _combine(self, classifier: Classifier) -> Vectors:
        """Return (n_labels, n_dimensions) float32 unit vectors: a label's words, description and examples combined."""
        descriptions, examples = dict(classifier.descriptions), dict(classifier.examples)
        subject = classifier.text_type or "text"
        rows = []
        for label in classifier.labels:
            words = [label, f"This {subject} is about {label}.", f"This {subject} is {label}."]
            if label in descriptions:
                words += [descriptions[label], f"{label}: {descriptions[label]}"] * 2
            row = unit(self._embed_labels(words).mean(axis=0))
            if label in examples:
                row = unit(row * LABEL_WEIGHT_IN_EXAMPLES + self._embed_texts(examples[label]).sum(axis=0))
            rows.append(row)
        return np.stack(rows)

    def _fit(self, classifier: Classifier) -> Head:
        """Return the classifier's calibrated head: the tuned one, or one fitted on its words and examples."""
        if classifier.learned is not None:
            return classifier.learned.head(classifier.labels)
        if not classifier.is_exclusive:
            return CALIBRATION.each_alone(self.vectors(classifier))
        if not classifier.examples:
            return CALIBRATION.by_words(self.vectors(classifier))
        words = self.vectors(dataclasses.replace(classifier, examples=()))
        examples = self.examples(classifier)
        return CALIBRATION.by_examples(fit_examples(words, examples), len(examples))


def score_parts(head: Head, parts: Vectors, tokens: int) -> Scores:
    """Return the scores of one text.

    Args:
        head: of the text's classifier.
        parts: (n_parts, n_dimensions) vectors of the text's parts; their sum is the text's vector.
        tokens: of the whole text.

    >>> head = Head(np.eye(2), np.zeros(2))
    >>> scores = score_parts(head, np.array([[3, 0], [0, 4]], np.float32), tokens=9)
    >>> scores.values.round(1).tolist() == np.float32([0.6, 0.8]).tolist(), scores.strongest
    (True, 1)
    """
    # One text at a time: a product over several texts could sum in another order and change the last bits.
    values = head.vectors @ unit(parts.sum(axis=0)).astype(np.float64) + head.bias
    scores = Scores(values.astype(np.float32), tokens)
    if len(parts) > 1:
        towards_best = head.vectors[values.argmax()] - head.vectors.mean(axis=0)
        scores.strongest = int((parts @ towards_best).argmax())
    return scores
