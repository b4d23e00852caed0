"""Learned: the linear head that `classer tune` fitted, as it is stored in a classifier's file."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from classer_core.heads import Head

_DAMAGED = "`learned` of the classifier is damaged (tune the classifier again)"
STORED = np.dtype("<f2")  # half precision changes logits by at most 0.01


@dataclass(frozen=True)
class Learned:
    """A calibrated linear head for the vectors of one model, and its origin.

    Attributes:
        model: id of the model, without the number format.
        labels: label of each row.
        vectors: (n_labels, n_dimensions) little-endian float16.
        bias: one value per label.
        texts: number of unlabelled texts it was fitted on.
        gold: number of labelled texts it was fitted on.
        corpus: digest of these texts.
    """

    model: str
    labels: tuple[str, ...]
    vectors: bytes
    bias: tuple[float, ...]
    texts: int
    gold: int
    corpus: str

    @classmethod
    def of_head(cls, head: Head, model: str, labels: tuple[str, ...], texts: int, gold: int, corpus: str) -> Learned:
        """Return a fitted head for storing, its vectors rounded to half precision; arguments as in `Learned`."""
        bias = tuple(round(float(value), 4) for value in head.bias)
        return cls(model, labels, head.vectors.astype(STORED).tobytes(), bias, texts, gold, corpus)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Learned:
        """Return the head that `to_mapping` has stored.

        Raises:
            ValueError: a field is missing or malformed.
        """
        try:
            vectors = base64.b64decode(value["vectors"], validate=True)
            labels, bias = tuple(map(str, value["labels"])), tuple(map(float, value["bias"]))
            learned = cls(
                model=str(value["model"]),
                labels=labels,
                vectors=vectors,
                bias=bias,
                texts=int(value["texts"]),
                gold=int(value["gold"]),
                corpus=str(value["corpus"]),
            )
        except (KeyError, TypeError, binascii.Error) as error:
            raise ValueError(f"{_DAMAGED}: {type(error).__name__}: {error}") from error
        if len(bias) != len(labels) or not vectors or len(vectors) % (len(labels) * STORED.itemsize):
            raise ValueError(
                f"{_DAMAGED}: {len(vectors)} bytes of vectors and {len(bias)} biases, {len(labels)} labels"
            )
        if not all(np.isfinite(learned._rows).ravel()) or not all(np.isfinite(bias)):
            raise ValueError(f"{_DAMAGED}: contains NaN or infinite values")
        return learned

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields as plain values for YAML or JSON, the vectors as base64."""
        return {
            "model": self.model,
            "labels": list(self.labels),
            "vectors": base64.b64encode(self.vectors).decode(),
            "bias": list(self.bias),
            "texts": self.texts,
            "gold": self.gold,
            "corpus": self.corpus,
        }

    def head(self, labels: Sequence[str]) -> Head:
        """Return the head with its rows in the order of `labels`."""
        order = [self.labels.index(label) for label in labels]
        return Head(self._rows[order].astype(np.float64), np.array(self.bias)[order])

    @property
    def _rows(self) -> npt.NDArray[np.float16]:
        return np.frombuffer(self.vectors, STORED).reshape(len(self.labels), -1)
