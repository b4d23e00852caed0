"""Models: texts and their classifiers in, one logit per label out.

A job names its model: `embedded`, a Hugging Face id, or a local folder. `load_model` turns that into a `Model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from classer_core.classifiers import Classifier
from classer_core.errors import RecordError

EMBEDDED = "embedded"


@dataclass(slots=True)
class Scores:
    """What is made of one content: `values` (n_labels,) float32, logits, in the order of the labels.

    Their softmax are the probabilities if exactly one label is right; of one label alone, or in mode multi, each one's
    sigmoid is its own.

    `strongest` is the part of the content that spoke most for the best label.
    """

    values: npt.NDArray[np.float32]
    tokens: int
    strongest: int = 0
    visual_tokens: int | None = None


class Model(Protocol):
    """Anything that scores texts against labels."""

    @property
    def id(self) -> str:
        """Model id and the digest of what can change a score; written into every result."""

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        """Scores of each text, given in one or more parts, for the labels of the classifier at the same position.

        A text that this model can't take is a `RecordError` in its place. Anything raised concerns the whole call.
        """


@lru_cache(maxsize=2)
def load_model(name: str, threads: int | None = None) -> Model:
    """A job's `model:` in, the loaded model out; one copy per process.

    Args:
        name: `embedded`, a Hugging Face id, or a local folder.
        threads: CPU threads it may use (default: all cores).

    Raises:
        ModelLoadError: no such model, damaged weights, or not a sentence-embedding model.
    """
    from classer_core.models.embedding import EmbeddingModel

    return EmbeddingModel.load(name, threads)
