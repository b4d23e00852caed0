"""Text models: the protocol that all of them follow; `loading.load_model` loads one by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from classer_core.classifiers import Classifier
from classer_core.errors import RecordError

EMBEDDED = "embedded"


@dataclass(slots=True)
class Scores:
    """The scores of one content.

    Attributes:
        values: (n_labels,) float32 logits in the order of the labels. If exactly one label is right, their softmax are
            the probabilities; for a single label, or in mode multi, the sigmoid of each.
        tokens: tokens that were read, with special tokens and image tokens.
        strongest: position of the part of the content that speaks most for the best label.
        visual_tokens: image tokens that were read; None if no picture was looked at.
        model: id of the model that made these scores, where several may; None for the one that was asked.
    """

    values: npt.NDArray[np.float32]
    tokens: int
    strongest: int = 0
    visual_tokens: int | None = None
    model: str | None = None


class Model(Protocol):
    """A model that scores texts against labels."""

    @property
    def id(self) -> str:
        """Return the model's name and the digest of everything that can change a score; part of every result."""

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        """Return the scores of each text for the labels of the classifier at the same position.

        Args:
            texts: each text as one or more parts.
            classifiers: one per text.

        Returns:
            One entry per text; a `RecordError` for a text that this model can't score.

        Raises:
            Exception: the call failed as a whole.
        """
