"""The embedded eyes: text by OCR, things by an ImageNet classifier, both from packages, without a download."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from classer_core.classifiers import Classifier
from classer_core.contents import Look, Pixels
from classer_core.models.embedding import EmbeddingModel
from classer_core.models.ocr import LONG_SIDE_PX, OcrReader
from classer_core.models.photos import PhotoClassifier, class_definitions, class_names
from classer_core.models.visual import Values

# With this much text in it a picture is half text: a shop sign is, an invoice is nearly all.
HALF_TEXT_CHARS = 60
# Less than this and the photo classifier is not asked.
MIN_SHARE = 0.05
# Likeness to logits: fitted so that confidence matches accuracy on photos; at this likeness a label is there or not.
PHOTO_SHARPNESS = 20.0
NEUTRAL_LIKENESS = 0.5
# How much a class's definition counts beside its names: definitions help with kinds of things (clothing 31 -> 40%), and
# blur single ones (ImageNet's own names 92 -> 90%).
DEFINITION_SHARE = 0.4


class EmbeddedSight:
    """Reads what is written and names what is shown.

    Things are matched by the convex combination of semantic embeddings: a label's score is the mean likeness of the
    ImageNet classes to it, weighted by how probable each class is. Source: Norouzi et al., arXiv 1312.5650.

    Args:
        text_model: embeds the classes' names and the labels.
        threads: CPU threads it may use.
    """

    def __init__(self, text_model: EmbeddingModel, threads: int | None = None) -> None:
        self._text_model = text_model
        self._reader = OcrReader(threads)
        self._photos = PhotoClassifier()
        self._likeness = lru_cache(maxsize=64)(self._compare)
        self._class_vectors = lru_cache(maxsize=1)(self._embed_classes)

    @property
    def id(self) -> str:
        """The engines' names and versions."""
        return f"{self._reader.id}+{self._photos.id}"

    @property
    def look(self) -> Look:
        """Pages without a text layer; they are read by OCR."""
        return Look("thin", LONG_SIDE_PX)

    @property
    def tokens_a_picture(self) -> int:
        """Places of the last feature map."""
        return self._photos.tokens_a_picture

    def read(self, pictures: Sequence[Pixels]) -> list[str]:
        """What is written on each picture."""
        return self._reader.read(pictures)

    def score(self, pictures: Sequence[Pixels], classifiers: Sequence[Classifier]) -> list[Values]:
        """See `VisualModel.score`."""
        probabilities = self._photos.classify(pictures)
        return [
            np.asarray(PHOTO_SHARPNESS * (row @ self._likeness(classifier) - NEUTRAL_LIKENESS), dtype=np.float32)
            for row, classifier in zip(probabilities, classifiers, strict=True)
        ]

    def share(self, text_chars: int) -> float:
        """The more is written, the less counts what is shown."""
        share = HALF_TEXT_CHARS / (HALF_TEXT_CHARS + text_chars)
        return share if share >= MIN_SHARE else 0.0

    def _compare(self, classifier: Classifier) -> Values:
        """(1000, n_labels): how like each class is to each label, by its nearest synonym and by its definition."""
        labels = self._text_model.label_vectors(classifier)
        names, owners, definitions = self._class_vectors()
        nearest = np.full((len(definitions), len(labels)), -1.0, dtype=np.float32)
        np.maximum.at(nearest, owners, names @ labels.T)
        mixed = (1 - DEFINITION_SHARE) * nearest + DEFINITION_SHARE * (definitions @ labels.T)
        return np.asarray(mixed, dtype=np.float32)

    def _embed_classes(self) -> tuple[Values, npt.NDArray[np.int64], Values]:
        names, owners = class_names()
        return self._text_model.embed(names), owners, self._text_model.embed(class_definitions())
