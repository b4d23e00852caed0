"""Models that look: pictures in, text seen in them and logits out.

A job names one with `visual_model`: `embedded`, `none`, a Hugging Face id or a local folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from classer_core.classifiers import Classifier
from classer_core.contents import Look, Pixels
from classer_core.errors import ModelLoadError
from classer_core.models import EMBEDDED, Model

NONE = "none"
Values = npt.NDArray[np.float32]


class VisualModel(Protocol):
    """Anything that makes something of pixels."""

    @property
    def id(self) -> str:
        """What is written into every result beside the text model's id."""

    @property
    def look(self) -> Look:
        """Which pages it wants to see, and how large."""

    def read(self, pictures: Sequence[Pixels]) -> list[str]:
        """The text seen in each picture; empty for models that don't read."""

    def score(self, pictures: Sequence[Pixels], classifiers: Sequence[Classifier]) -> list[Values]:
        """Each picture's (n_labels,) logits for the classifier at the same position; see `Scores`."""

    def share(self, text_chars: int) -> float:
        """How much a content's pictures count beside that many characters of text: 0-1."""

    @property
    def tokens_a_picture(self) -> int:
        """Image tokens that `score` reads of one picture."""


def load_visual_model(name: str, text_model: Model, threads: int | None = None) -> VisualModel | None:
    """A job's `visual_model:` in, the loaded model out; None for `none`.

    Raises:
        ModelLoadError: no such model, or one that does not match pictures with texts.
    """
    if name == NONE:
        return None
    if name != EMBEDDED:
        from classer_core.models.image_text import ImageTextModel

        return ImageTextModel.load(name)
    from classer_core.models.embedding import EmbeddingModel
    from classer_core.models.sight import EmbeddedSight

    if not isinstance(text_model, EmbeddingModel):
        raise ModelLoadError(f"visual_model 'embedded' needs a sentence-embedding model, not {text_model.id!r}")
    return EmbeddedSight(text_model, threads)
