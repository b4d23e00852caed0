"""Pieces of prompts as token ids, and the texts that share the labels of one classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from classer_core.classifiers import Classifier
from classer_core.models.windows import TokenIds


def encoded(backend: Any, text: str, special: bool = False) -> TokenIds:
    """Return the token ids of a piece of a prompt; `special` to add the tokens that begin every input."""
    return np.array(backend.encode(text, add_special_tokens=special).ids, np.int32)


def encoded_markup(backend: Any, text: str, special: bool = False) -> TokenIds:
    """Return the token ids of a constant of ours, in which the names of special tokens mean these tokens.

    It changes the tokenizer for a moment: call it before other threads have it.
    """
    backend.encode_special_tokens = False
    try:
        return encoded(backend, text, special)
    finally:
        backend.encode_special_tokens = True


def by_classifier(classifiers: Sequence[Classifier]) -> Iterator[tuple[Classifier, list[int]]]:
    """Yield each distinct classifier with its positions, in the order of first occurrence."""
    positions: dict[Classifier, list[int]] = {}
    for position, classifier in enumerate(classifiers):
        positions.setdefault(classifier, []).append(position)
    yield from positions.items()
