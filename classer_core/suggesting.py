"""Suggest labels for texts that have none: clusters of their vectors, named by their own words."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.vq import kmeans2

from classer_core.classifiers import MAX_LABEL_CHARS
from classer_core.heads import unit

FEWEST_TEXTS = 50
MOST_LABELS = 20
BEGINNINGS = 4
WORDS, EXAMPLES, EXAMPLE_CHARS = 6, 3, 200
# Clusters that hold less than this share of the texts are not worth a label.
LEAST_SHARE = 0.01
_WORD = re.compile(r"[^\W\d_]{3,}")
Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Suggestion:
    """A label that some texts may have.

    Attributes:
        label: its most telling words.
        words: more of them, the most telling first; a start for its description.
        share: of the texts, 0-1.
        examples: the texts in its middle, cut.
    """

    label: str
    words: list[str]
    share: float
    examples: list[str]


def suggest_labels(texts: Sequence[str], vectors: Floats, count: int | None = None) -> list[Suggestion]:
    """Return a label for each cluster of the texts, the largest one first. Deterministic.

    Args:
        texts: at least `FEWEST_TEXTS`.
        vectors: (n_texts, n_dimensions), one per text.
        count: number of clusters; without, the one from 2 to `MOST_LABELS` whose clusters stand apart best.

    Raises:
        ValueError: there are too few texts.
    """
    if len(texts) < FEWEST_TEXTS:
        raise ValueError(f"labels are suggested from at least {FEWEST_TEXTS} texts, got {len(texts)}")
    # What all texts share says nothing of their groups.
    points = unit(vectors - vectors.mean(axis=0))
    counts = [count] if count is not None else range(2, min(MOST_LABELS, len(texts) // 10) + 1)
    found = [_clusters(points, number) for number in counts]
    groups, centres = max(found, key=lambda item: _apart(points, *item))
    words = [frozenset(_WORD.findall(text.lower())) for text in texts]
    totals = Counter(word for each in words for word in each)
    suggestions: list[Suggestion] = []
    for number in np.argsort(-np.bincount(groups, minlength=len(centres)), kind="stable").tolist():
        members = np.flatnonzero(groups == number)
        if len(members) < max(2, LEAST_SHARE * len(texts)):
            continue
        telling = _telling([words[place] for place in members], totals, len(texts))
        taken = {item.label for item in suggestions}
        names = [" / ".join(telling[:length]) for length in range(min(2, len(telling)), len(telling) + 1)]
        label = next((name for name in names if name and name not in taken), f"group {number + 1}")
        middle = members[np.argsort(-(points[members] @ centres[number]), kind="stable")[:EXAMPLES]]
        examples = [" ".join(texts[place].split())[:EXAMPLE_CHARS] for place in middle.tolist()]
        suggestions.append(Suggestion(label[:MAX_LABEL_CHARS], telling, len(members) / len(texts), examples))
    return suggestions


def _clusters(points: Floats, count: int) -> tuple[Places, Floats]:
    """Return the cluster of each point, and the centres: the best of some beginnings."""
    best, least = None, np.inf
    for seed in range(BEGINNINGS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a cluster that has become empty: it is left out later
            centres, groups = kmeans2(points, count, iter=30, minit="++", rng=seed)
        loss = float(((points - centres[groups]) ** 2).sum())
        if best is None or loss < least:
            best, least = (groups.astype(np.int64), centres.astype(np.float32)), loss
    assert best is not None
    return best


def _apart(points: Floats, groups: Places, centres: Floats) -> float:
    """Return how well clusters stand apart, -1 to 1: the silhouette by distances to centres (Hruschka 2004)."""
    distances = np.linalg.norm(points[:, None, :] - centres[None, :, :], axis=2)
    own = distances[np.arange(len(points)), groups]
    distances[np.arange(len(points)), groups] = np.inf
    other = distances.min(axis=1)
    return float(((other - own) / np.maximum(np.maximum(own, other), 1e-9)).mean())


def _telling(texts: Sequence[frozenset[str]], totals: Counter[str], count: int) -> list[str]:
    """Return the words that tell these texts from all: how often they occur, by how much more than elsewhere."""
    own = Counter(word for words in texts for word in words)

    def weight(word: str) -> float:
        inside, outside = own[word] / len(texts), (totals[word] - own[word] + 1) / (count - len(texts) + 2)
        return float(inside * np.log(inside / outside)) if own[word] > 1 else 0.0

    return [word for word in sorted(own, key=lambda word: (-weight(word), word))[:WORDS] if weight(word) > 0]
