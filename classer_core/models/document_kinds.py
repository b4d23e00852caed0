"""DocumentKinds: tells what kind of document a text is, and which labels name that kind.

A text model compares what a document is about; an invoice for books is about books. Here the beginning of a document,
its next 2,000 characters and the form of its text give a probability for each of some dozens of kinds, and a label
takes the probability of the kinds whose names it resembles. Labels stay free text: "delivery note" and "Lieferschein"
resemble the names of shipping documents. A label that resembles no kind is judged by the text alone, and so are all
labels where most are something else than kinds of documents.

Source: convex combination of semantic embeddings, Norouzi et al., arXiv 1312.5650.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from classer_core.classifiers import Classifier
from classer_core.heads import softmax
from classer_core.models.text_shape import text_shape

Floats = npt.NDArray[np.float32]

FILE = Path(__file__).parent / "weights" / "document_kinds.npz"
# The beginning of a document often says what it is: it is a text of its own, beside what follows.
HEAD_CHARS, BODY_CHARS = 400, 2_000
# The form of the text is that of these pages.
SHAPED_PAGES = 3
# A sign in a photo is not a document.
MIN_CHARS = 100
# Factors of the vectors of texts (unit length) and of the standardised features of the form, and their limit.
VECTOR_FACTOR, SHAPE_FACTOR, SHAPE_LIMIT = 5.0, 0.8, 4.0
# A label takes exp(SHARPNESS * (cosine - NEUTRAL_COSINE)) parts of a kind, beside one part that no label takes.
SHARPNESS, NEUTRAL_COSINE = 20.0, 0.85
# Probability that every label keeps, whatever the kind: with 0.02, kinds that were trained on are found in 59% and not
# 48% of the cases, and documents of kinds that were not in 43% and not 46%.
FLOOR = 0.02
# Factor of the logits of text and kind together; fitted on the documents of the training, each judged by weights that
# were trained without its source and a fifth of the kinds.
SHARPER = 1.3
# Labels that resemble names of kinds by at least the second mean cosine are kinds; below the first, they are something
# else, such as topics. Sets of kinds that were written for other data lie at 0.93 to 0.98, topics, intents, emotions
# and departments of 180 tasks below 0.88.
OTHER_COSINE, KINDS_COSINE = 0.83, 0.91
CLASSIFIERS_KEPT = 64


class TextEmbedder(Protocol):
    """What is needed of the embedded model."""

    @property
    def weights_id(self) -> str:
        """Return the name and the digest of the weights."""

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors (n_texts, n_dimensions) of texts."""

    def label_vectors(self, classifier: Classifier) -> Floats:
        """Return unit vectors (n_labels, n_dimensions) of labels."""


class DocumentKinds:
    """Scores labels by the kind of a document.

    Args:
        embedder: the text model that the weights were trained with.
        path: an .npz file that `classer_core.training.document_kinds` wrote.

    Raises:
        ValueError: the weights were trained with another text model.
    """

    def __init__(self, embedder: TextEmbedder, path: Path = FILE) -> None:
        self._embedder = embedder
        self._digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        with np.load(path) as arrays:
            trained_with = str(arrays["text_model"])
            if trained_with != embedder.weights_id:
                raise ValueError(f"{path} was trained with {trained_with}, not with {embedder.weights_id}")
            self.kinds: list[str] = arrays["kinds"].tolist()
            self._weights, self._bias = arrays["weights"].astype(np.float64), arrays["bias"].astype(np.float64)
            self._shape_mean, self._shape_deviation = arrays["shape_mean"], arrays["shape_deviation"]
            self._head_factor, self._body_factor = arrays["name_factors"].tolist()
            self._names, self._owners = arrays["names"].astype(np.float32), arrays["owners"]
        self._shares = lru_cache(maxsize=CLASSIFIERS_KEPT)(self._shares_of_labels)

    @property
    def id(self) -> str:
        """Return the digest of the weights."""
        return f"kinds@{self._digest}"

    def rescore(
        self, values: Sequence[Floats], documents: Sequence[Sequence[str]], classifiers: Sequence[Classifier]
    ) -> list[Floats]:
        """Return the logits (n_labels,) of documents, given those that the text model gives them.

        Args:
            values: the text model's logits of each document.
            documents: the text of each document's pages.
            classifiers: one per document.
        """
        rescored = list(values)
        chosen = [
            n
            for n, (pages, classifier) in enumerate(zip(documents, classifiers, strict=True))
            if sum(map(len, pages)) >= MIN_CHARS and self._shares(classifier)[0] > 0
        ]
        for n, row in zip(chosen, self.probabilities([documents[n] for n in chosen]), strict=True):
            weight, shares = self._shares(classifiers[n])
            taken = shares @ row
            even = 1 / len(taken)
            mass = taken + (1 - taken.sum()) * even
            logits = values[n] + weight * np.log((mass + FLOOR) / (even + FLOOR))
            rescored[n] = (logits * (1 + weight * (SHARPER - 1))).astype(np.float32)
        return rescored

    def probabilities(self, documents: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
        """Return the probability of each kind (n_documents, n_kinds), in the order of `kinds`."""
        if not documents:
            return np.zeros((0, len(self.kinds)))
        inputs = document_vectors(self._embedder, documents)
        rows = []
        # One document at a time: products of matrices may round otherwise in other company.
        for head, body, shape in zip(*inputs, strict=True):
            features = features_of(head, body, shape, self._shape_mean, self._shape_deviation)
            named = self._head_factor * self._named(head) + self._body_factor * self._named(body)
            rows.append(softmax(self._weights @ features.astype(np.float64) + self._bias + named))
        return np.stack(rows)

    def _named(self, vector: Floats) -> Floats:
        """Return how much nearer a text is to the names of each kind than to others (n_kinds,)."""
        return centred(best_of_kind(self._names @ vector, self._owners, len(self.kinds)))

    def _shares_of_labels(self, classifier: Classifier) -> tuple[float, npt.NDArray[np.float64]]:
        """Return how far labels are kinds, 0 to 1, and the share of each kind that each takes (n_labels, n_kinds)."""
        labels = self._embedder.label_vectors(classifier)
        cosines = np.stack([best_of_kind(self._names @ label, self._owners, len(self.kinds)) for label in labels])
        likeness = float(cosines.max(axis=1).mean())
        weight = min(max((likeness - OTHER_COSINE) / (KINDS_COSINE - OTHER_COSINE), 0.0), 1.0)
        parts = np.exp(SHARPNESS * (cosines.astype(np.float64) - NEUTRAL_COSINE))
        return weight, parts / (1 + parts.sum(axis=0))


def document_vectors(embedder: TextEmbedder, documents: Sequence[Sequence[str]]) -> tuple[Floats, Floats, Floats]:
    """Return the vectors of each document's beginning and of what follows, and the form of its text."""
    heads, bodies = zip(*(_parts(pages) for pages in documents), strict=True)
    vectors = embedder.embed([*heads, *bodies])
    shapes = np.stack([text_shape(_with_text(pages)[:SHAPED_PAGES]) for pages in documents])
    return vectors[: len(heads)], vectors[len(heads) :], shapes


def features_of(head: Floats, body: Floats, shape: Floats, mean: Floats, deviation: Floats) -> Floats:
    """Return the features (..., n_features) of documents, given their vectors, the form, and its mean and deviation."""
    standardised = np.clip((shape - mean) / deviation, -SHAPE_LIMIT, SHAPE_LIMIT)
    parts = [VECTOR_FACTOR * head, VECTOR_FACTOR * body, SHAPE_FACTOR * standardised]
    return np.concatenate(parts, axis=-1).astype(np.float32)


def best_of_kind(cosines: Floats, owners: npt.NDArray[np.int64], n_kinds: int) -> Floats:
    """Return the largest cosine of each kind's names (n_kinds,).

    Args:
        cosines: (n_names,).
        owners: (n_names,) the kind that has each name.
    """
    best = np.full(n_kinds, -1, np.float32)
    np.maximum.at(best, owners, cosines)
    return best


def centred(values: Floats) -> Floats:
    """Return the values (n,) less their mean."""
    return np.asarray(values - values.mean(), np.float32)


def _with_text(pages: Sequence[str]) -> list[str]:
    return [page for page in pages if page.strip()]


def _parts(pages: Sequence[str]) -> tuple[str, str]:
    """Return the beginning of a document, and what follows; the beginning again if that is all."""
    pages = _with_text(pages)
    head = pages[0][:HEAD_CHARS]
    return head, "\n".join(pages)[HEAD_CHARS : HEAD_CHARS + BODY_CHARS].strip() or head
