"""EmbeddedVisualModel: reads pictures by OCR and scores them by an ImageNet classifier, without a download."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from classer_core.classifiers import Classifier
from classer_core.contents import PixelNeeds, Pixels
from classer_core.models.ocr import LONG_SIDE_PX, OcrReader
from classer_core.models.photos import PhotoClassifier, class_definitions, class_names
from classer_core.models.sentence_embedding import EmbeddingModel
from classer_core.models.visual import Values

# With this much text, text and picture weigh alike, as on a shop sign; an invoice has far more.
HALF_TEXT_CHARS = 60
# With a lower weight than this, pictures are not scored.
MIN_SHARE = 0.05
# Factor from similarity to logits, fitted so that confidence matches accuracy on photos; similarity at which a label is
# right with probability 0.5.
PHOTO_SHARPNESS = 20.0
NEUTRAL_SIMILARITY = 0.5
# Weight of a class's definition beside its names: definitions help with labels for groups of classes (accuracy on
# clothing 31 -> 40%) and cost a little with labels for single classes (ImageNet's own names 92 -> 90%).
DEFINITION_SHARE = 0.4


class EmbeddedVisualModel:
    """Reads the text in pictures, and scores pictures by the similarity of labels and ImageNet classes.

    A label's score is the mean similarity of the ImageNet classes to it, weighted by the probability of each class.

    Args:
        text_model: embeds labels and the names of classes.
        threads: CPU threads it may use (default: one per core).

    Source: convex combination of semantic embeddings, Norouzi et al., arXiv 1312.5650.
    """

    def __init__(self, text_model: EmbeddingModel, threads: int | None = None) -> None:
        self._text_model = text_model
        self._reader = OcrReader(threads)
        self._photos = PhotoClassifier()
        self._similarities = lru_cache(maxsize=64)(self._compare)
        self._class_vectors = lru_cache(maxsize=1)(self._embed_classes)

    @property
    def id(self) -> str:
        """Return the names and versions of the OCR and the photo classifier."""
        return f"{self._reader.id}+{self._photos.id}"

    @property
    def pixel_needs(self) -> PixelNeeds:
        """Return that pages without a text layer are needed, to read them by OCR."""
        return PixelNeeds("thin", LONG_SIDE_PX)

    @property
    def tokens_a_picture(self) -> int:
        """Return the number of positions of the last feature map."""
        return self._photos.tokens_a_picture

    def read(self, pictures: Sequence[Pixels]) -> list[str]:
        """Return the text in each picture."""
        return self._reader.read(pictures)

    def score(self, pictures: Sequence[Pixels], classifiers: Sequence[Classifier]) -> list[Values]:
        """Return the logits (n_labels,) of each picture for the classifier at the same position."""
        probabilities = self._photos.classify(pictures)
        return [
            np.asarray(PHOTO_SHARPNESS * (row @ self._similarities(classifier) - NEUTRAL_SIMILARITY), dtype=np.float32)
            for row, classifier in zip(probabilities, classifiers, strict=True)
        ]

    def share(self, text_chars: int) -> float:
        """Return the weight of pictures beside this many characters of text, 0-1: the more text, the lower."""
        share = HALF_TEXT_CHARS / (HALF_TEXT_CHARS + text_chars)
        return share if share >= MIN_SHARE else 0.0

    def _compare(self, classifier: Classifier) -> Values:
        """Return the similarity (1000, n_labels) of classes and labels, by the nearest name and by the definition."""
        labels = self._text_model.label_vectors(classifier)
        names, owners, definitions = self._class_vectors()
        nearest = np.full((len(definitions), len(labels)), -1.0, dtype=np.float32)
        np.maximum.at(nearest, owners, names @ labels.T)
        mixed = (1 - DEFINITION_SHARE) * nearest + DEFINITION_SHARE * (definitions @ labels.T)
        return np.asarray(mixed, dtype=np.float32)

    def _embed_classes(self) -> tuple[Values, npt.NDArray[np.int64], Values]:
        names, owners = class_names()
        return self._text_model.embed(names), owners, self._text_model.embed(class_definitions())
