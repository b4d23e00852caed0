"""A model without weights, for tests of everything around the model."""

from collections.abc import Sequence

import numpy as np

from classer_core import Classifier, Model, Scores

POISON = "poison"


class FakeModel:
    """Scores a label by how often the text names it; raises on a text that is poison."""

    id = "fake"

    def score(self, texts: Sequence[str], classifiers: Sequence[Classifier]) -> list[Scores]:
        """See `Model.score`."""
        if POISON in texts:
            raise RuntimeError("the model choked")
        return [
            Scores(np.array([text.count(label) for label in classifier.labels], np.float32), tokens=len(text.split()))
            for text, classifier in zip(texts, classifiers, strict=True)
        ]


def load() -> Model:
    """Loads by name, as workers do."""
    return FakeModel()
