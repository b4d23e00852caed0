"""A model without weights, for tests of everything around the model."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from classer_core import Classifier, Engine, RecordError, Scores
from classer_core.records import OWN_FIELDS, REQUEST_FIELDS

POISON = "poison"
# What records may set only where their job says so.
OPT_IN_FIELDS = [name for name in REQUEST_FIELDS if name not in OWN_FIELDS]


class FakeModel:
    """Scores a label by how often the text names it; raises on a text that is poison."""

    id = "fake"

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        """See `Model.score`."""
        if [POISON] in texts:
            raise RuntimeError("the model choked")
        return [self._count(" ".join(parts), classifier) for parts, classifier in zip(texts, classifiers, strict=True)]

    def _count(self, text: str, classifier: Classifier) -> Scores:
        counts = np.array([text.count(label) for label in classifier.labels], np.float32)
        return Scores(20 * counts - 5, len(text.split()))


class CountingModel(FakeModel):
    """A fake model that remembers, for the whole process, which texts it was given."""

    texts: ClassVar[list[str]] = []

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        """See `Model.score`."""
        self.texts += [" ".join(parts) for parts in texts]
        return super().score(texts, classifiers)


def load_counting() -> Engine:
    """Loads by name, as workers do."""
    return Engine(CountingModel())


def load() -> Engine:
    """Loads by name, as workers do."""
    return Engine(FakeModel())


def load_truncating() -> Engine:
    """The same, reading the first pages of long documents."""
    return Engine(FakeModel(), truncate=True)
