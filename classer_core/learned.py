"""What a classifier learned from texts: small, fixed, and all that is needed to answer with it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from classer_core.heads import Head

STORED = np.dtype("<f2")  # half precision changes no logit by more than 0.01


@dataclass(frozen=True)
class Learned:
    """A calibrated linear head over the vectors of one model, and where it comes from.

    Attributes:
        model: id of the model whose vectors it is for, without the number format.
        labels: what its rows stand for.
        vectors: (n_labels, n_dimensions) little-endian float16.
        bias: one a label.
        texts: how many unlabelled texts it learned from.
        gold: how many labelled ones.
        corpus: digest of all of them.
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
        """A head in, the same in half precision out."""
        bias = tuple(round(float(value), 4) for value in head.bias)
        return cls(model, labels, head.vectors.astype(STORED).tobytes(), bias, texts, gold, corpus)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Learned:
        """`to_mapping`'s output in, the same thing out.

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
            raise ValueError(f"what was learned is damaged: {type(error).__name__}: {error}") from error
        if len(bias) != len(labels) or not vectors or len(vectors) % (len(labels) * STORED.itemsize):
            raise ValueError(f"what was learned is damaged: {len(vectors)} bytes of vectors for {len(labels)} labels")
        if not all(np.isfinite(learned._rows).ravel()) or not all(np.isfinite(bias)):
            raise ValueError("what was learned is damaged: it holds numbers that are none")
        return learned

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for YAML or JSON; vectors as base64."""
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
        """The head, its rows in the order of `labels`."""
        order = [self.labels.index(label) for label in labels]
        return Head(self._rows[order].astype(np.float64), np.array(self.bias)[order])

    @property
    def _rows(self) -> npt.NDArray[np.float16]:
        return np.frombuffer(self.vectors, STORED).reshape(len(self.labels), -1)
