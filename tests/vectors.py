"""Vectors made for tests: texts of well separated kinds, and labels that point to them."""

import numpy as np

from classer_core.heads import Head, Vectors, unit

DIMENSIONS = 32


def clusters(
    seed: int, sizes: list[int], noise: float = 0.12, astray: float = 0.5
) -> tuple[Vectors, Vectors, np.ndarray]:
    """Texts of well separated kinds, and label vectors that point to them only roughly."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(len(sizes), DIMENSIONS)))
    kinds = np.repeat(np.arange(len(sizes)), sizes)
    texts = unit(centres[kinds] + noise * rng.normal(size=(len(kinds), DIMENSIONS)))
    labels = unit(centres + astray * rng.normal(size=centres.shape))
    return texts, labels, kinds


def accuracy(head: Head, texts: Vectors, kinds: np.ndarray) -> float:
    return float((head.logits(texts).argmax(axis=1) == kinds).mean())
