"""Cascade: a fast model answers, and a better one is asked where it is not sure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classer_core.classifiers import Classifier
from classer_core.errors import FailureCode, RecordError
from classer_core.models import Model, Scores
from classer_core.scoring import exclusive, independent


class Cascade:
    """A `Model` made of two.

    An answer is that of the first model or that of the second, never a mix; `Scores.model` says whose. The tokens are
    those that both have read.

    Args:
        first: reads every text.
        then: reads the texts about which the first is not sure.
        below: the certainty (0-1) of the first below which the second is asked; None to trust the first only as far
            as the limits of a classifier go, and not at all without them.
    """

    def __init__(self, first: Model, then: Model, below: float | None) -> None:
        self.first = first
        self.then = then
        self._below = below

    @property
    def id(self) -> str:
        """Return the ids of both models and the limit; each row has the id of the model that answered."""
        limit = "certified" if self._below is None else f"{self._below:g}"
        return f"{self.first.id}<{limit}?{self.then.id}"

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        """Return the scores of each text, as `Model.score` does. What the second model can't score is an error."""
        scores = self.first.score(texts, classifiers)
        unsure = []
        for n, (one, classifier) in enumerate(zip(scores, classifiers, strict=True)):
            if isinstance(one, Scores):
                one.model = self.first.id
                if (error := self._wrong_limits(classifier)) is not None:
                    scores[n] = error
                elif not self._trusts(one, classifier):
                    unsure.append(n)
        if not unsure:
            return scores
        # What `classer tune` fitted is for the vectors of the first model.
        untaught = [classifiers[n].as_written() for n in unsure]
        for n, answer in zip(unsure, self.then.score([texts[n] for n in unsure], untaught), strict=True):
            before = scores[n]
            if isinstance(answer, Scores) and isinstance(before, Scores):
                answer.tokens += before.tokens
                answer.model = self.then.id
            scores[n] = answer
        return scores

    def _trusts(self, scores: Scores, classifier: Classifier) -> bool:
        if self._below is not None:
            return certainty(scores, classifier) >= self._below
        if classifier.limits is None or not classifier.is_exclusive:
            return False
        return classifier.limits.trusts(classifier.labels[int(scores.values.argmax())], certainty(scores, classifier))

    def _wrong_limits(self, classifier: Classifier) -> RecordError | None:
        own = model_of_limits(self.first)
        if self._below is not None or classifier.limits is None or classifier.limits.model == own:
            return None
        message = f"{classifier.name} was certified for model {classifier.limits.model}, not {own}: certify it again"
        return RecordError(FailureCode.CLASSIFIER_INVALID, message, "classifier")


def model_of_limits(model: Model) -> str:
    """Return the id by which limits know their model; limits of embedding models are valid for all number formats."""
    return str(getattr(model, "weights_id", model.id))


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
