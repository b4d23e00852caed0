"""Cascade: a fast model answers, and a better one is asked where it is not sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from classer_core.classifiers import Classifier
from classer_core.errors import RecordError
from classer_core.models import Model, Scores
from classer_core.scoring import exclusive, independent


class Cascade:
    """A `Model` made of two.

    An answer is that of the first model or that of the second, never a mix; `Scores.model` says whose. The tokens are
    those that both have read.

    Args:
        first: reads every text.
        then: reads the texts about which the first is not sure.
        below: the certainty (0-1) of the first below which the second is asked.
    """

    def __init__(self, first: Model, then: Model, below: float) -> None:
        self.first = first
        self.then = then
        self._below = below

    @property
    def id(self) -> str:
        """Return the ids of both models and the limit; each row has the id of the model that answered."""
        return f"{self.first.id}<{self._below:g}?{self.then.id}"

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        """Return the scores of each text, as `Model.score` does. What the second model can't score is an error."""
        scores = self.first.score(texts, classifiers)
        unsure = []
        for n, (one, classifier) in enumerate(zip(scores, classifiers, strict=True)):
            if isinstance(one, Scores):
                one.model = self.first.id
                if certainty(one, classifier) < self._below:
                    unsure.append(n)
        if not unsure:
            return scores
        # What `classer tune` fitted is for the vectors of the first model.
        untaught = [replace(own, learned=None) if (own := classifiers[n]).learned else own for n in unsure]
        for n, answer in zip(unsure, self.then.score([texts[n] for n in unsure], untaught), strict=True):
            before = scores[n]
            if isinstance(answer, Scores) and isinstance(before, Scores):
                answer.tokens += before.tokens
                answer.model = self.then.id
            scores[n] = answer
        return scores


def certainty(scores: Scores, classifier: Classifier) -> float:
    """Return how sure a model is, 0-1: the best label's probability; of independent labels, that of the least sure one.

    >>> labels = ["a", "b"]
    >>> round(certainty(Scores(np.array([0, 2], np.float32), 1), Classifier.of(labels)), 2)
    0.88
    >>> round(certainty(Scores(np.array([0, 2], np.float32), 1), Classifier.of(labels, mode="multi")), 2)
    0.5
    """
    if classifier.is_exclusive:
        return float(exclusive(scores.values).max())
    shares = independent(scores.values)
    return float(np.maximum(shares, 1 - shares).min())
