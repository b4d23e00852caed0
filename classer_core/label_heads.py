"""From a classifier to the head that scores unit vectors of texts for its labels; no network is needed here."""

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
# An example counts as much as a quarter of what the label's own words say.
LABEL_WEIGHT_IN_EXAMPLES = 4

Embed = Callable[[Sequence[str]], Vectors]


class LabelHeads:
    """Label vectors and heads of classifiers, made once for each.

    Args:
        embed_labels: returns unit vectors (n_texts, n_dimensions) of what labels are called.
        embed_texts: returns unit vectors (n_texts, n_dimensions) of texts as they are classified.
    """

    def __init__(self, embed_labels: Embed, embed_texts: Embed) -> None:
        self._embed_labels = embed_labels
        self._embed_texts = embed_texts
        self.vectors = lru_cache(maxsize=HEADS_CACHED)(self._combine)
        self.head = lru_cache(maxsize=HEADS_CACHED)(self._fit)

    def examples(self, classifier: Classifier) -> Labelled:
        """Return the vectors of the classifier's examples, with the positions of their labels."""
        texts = [text for _, shown in classifier.examples for text in shown]
        owners = [classifier.labels.index(label) for label, shown in classifier.examples for _ in shown]
        vectors = self._embed_texts(texts) if texts else self.vectors(classifier)[:0]
        return Labelled(vectors, np.array(owners, dtype=np.int64))

    def _combine(self, classifier: Classifier) -> Vectors:
        """Return (n_labels, n_dimensions) float32 unit vectors; one row combines all that is known of a label."""
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
        """Return all that is known of a classifier's labels, as calibrated logits of a text's unit vector."""
        if classifier.learned is not None:
            return classifier.learned.head(classifier.labels)
        if classifier.mode == "multi" or len(classifier.labels) == 1:
            return CALIBRATION.each_alone(self.vectors(classifier))
        if not classifier.examples:
            return CALIBRATION.by_words(self.vectors(classifier))
        words = self.vectors(dataclasses.replace(classifier, examples=()))
        examples = self.examples(classifier)
        return CALIBRATION.by_examples(fit_examples(words, examples), len(examples))


def score_parts(head: Head, parts: Vectors, tokens: int) -> Scores:
    """Return the scores of one text, given as the vectors (n_parts, n_dimensions) that add up to the text's own."""
    # One text at a time: a product over several could sum in another order, and then so would the answer.
    values = head.vectors @ unit(parts.sum(axis=0)).astype(np.float64) + head.bias
    scores = Scores(values.astype(np.float32), tokens)
    if len(parts) > 1:
        towards_best = head.vectors[values.argmax()] - head.vectors.mean(axis=0)
        scores.strongest = int((parts @ towards_best).argmax())
    return scores
