"""Visual models: the protocol that all of them follow; `loading.load_visual_model` loads one by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from classer_core.classifiers import Classifier
from classer_core.contents import PixelNeeds, Pixels

NONE = "none"
Values = npt.NDArray[np.float32]


class VisualModel(Protocol):
    """A model that reads the text in pictures, scores pictures against labels, or both."""

    @property
    def id(self) -> str:
        """Return the model's name and version; part of the results of records with pictures."""

    @property
    def pixel_needs(self) -> PixelNeeds:
        """Return which pages and pictures this model needs, and how large."""

    def read(self, pictures: Sequence[Pixels]) -> list[str]:
        """Return the text in each picture; empty for models that do not read."""

    def score(self, pictures: Sequence[Pixels], classifiers: Sequence[Classifier]) -> list[Values]:
        """Return the logits (n_labels,) of each picture for the classifier at the same position, as in `Scores`."""

    def share(self, text_chars: int) -> float:
        """Return the weight of a content's pictures beside `text_chars` characters of text, 0-1."""

    @property
    def tokens_a_picture(self) -> int:
        """Return the number of image tokens that `score` reads per picture."""
