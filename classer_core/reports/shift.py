"""How far texts have moved away from earlier ones, without labels and without a model.

Naive Bayes on character trigrams learns to tell both samples apart on one half of each and is judged on the other (a
classifier two-sample test; Lopez-Paz and Oquab 2017, arXiv:1610.06545). Trigrams see a new topic, another language and
a broken encoding alike.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from zlib import crc32

import numpy as np
import numpy.typing as npt

SAMPLE_TEXTS = 2_000
TEXT_CHARS = 400
BUCKETS = 1 << 14
FEWEST_TEXTS = 50
# Added to the count of each trigram. Of 0.5, 2, 5, 10 and 20, the one with which drift of 700 texts was found best.
SMOOTHING = 10.0
# Of the reference, the share of texts that are less like it than any text that counts as familiar.
UNFAMILIAR = 0.01
LEAST_VALUE, LEAST_UNLIKE, SIGMAS = 0.1, 0.05, 4.0
Floats = npt.NDArray[np.float64]
Grams = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TextShift:
    """How well texts can be told from earlier ones.

    Attributes:
        value: 0 if they can't be told apart, 1 if each can: twice the area under the ROC curve, less 1.
        sigmas: the value in standard deviations of what chance gives.
        unlike: share of the texts that are unlike anything in the earlier ones, 0-1.
        unlike_sigmas: the same in standard deviations of what chance gives.
    """

    value: float
    sigmas: float
    unlike: float
    unlike_sigmas: float

    @property
    def is_change(self) -> bool:
        """Return whether chance does not explain it, and it is not small: large samples show the smallest shift."""
        moved = self.value >= LEAST_VALUE and self.sigmas >= SIGMAS
        return moved or (self.unlike >= LEAST_UNLIKE and self.unlike_sigmas >= SIGMAS)


class TextSample:
    """A uniform sample of texts, the same one each time (algorithm R)."""

    def __init__(self, size: int = SAMPLE_TEXTS) -> None:
        self.texts: list[str] = []
        self._size = size
        self._seen = 0
        self._chosen = random.Random(0)

    def add(self, texts: Iterable[str | None]) -> None:
        """Take texts; those that are None or empty are left out."""
        for text in texts:
            if text:
                self._seen += 1
                if len(self.texts) < self._size:
                    self.texts.append(text)
                elif (place := self._chosen.randrange(self._seen)) < self._size:
                    self.texts[place] = text


def text_shift(now: Sequence[str], before: Sequence[str]) -> TextShift | None:
    """Return how far texts have moved away from earlier ones; None if there are too few to say.

    Args:
        now: a sample of the texts, in random order or the source's.
        before: of the earlier ones.
    """
    if min(len(now), len(before)) < FEWEST_TEXTS:
        return None
    mine, others = _halves(now), _halves(before)
    if not all(mine + others):
        return None
    areas, unlike = [], []
    for half in (0, 1):
        weights = _log_ratio(mine[half], others[half])
        scores, familiar = _scores(mine[1 - half], weights), _scores(others[1 - half], weights)
        areas.append(_area(scores, familiar))
        limit = np.quantile(familiar, 1 - UNFAMILIAR)
        unlike.append(max(0.0, float((scores > limit).mean()) - UNFAMILIAR))
    value = sum(areas) - 1
    # Both halves are judged, so that all texts count; of equal samples the area has this variance (Mann and Whitney).
    chance = 2 * sqrt((len(now) + len(before) + 1) / (12 * len(now) * len(before)))
    seldom = sqrt(UNFAMILIAR * (1 - UNFAMILIAR) * (1 / len(now) + 1 / len(before)))
    return TextShift(max(value, 0.0), value / chance, sum(unlike) / 2, sum(unlike) / 2 / seldom)


def _halves(texts: Sequence[str]) -> list[list[Grams]]:
    """Return the trigrams of texts in two halves; equal texts are in one, so that no text is learned and judged."""
    halves: list[list[Grams]] = [[], []]
    for text in texts:
        halves[crc32(text.encode("utf-8", "replace")) & 1].append(_trigrams(text))
    return halves


def _trigrams(text: str) -> Grams:
    shown = f" {' '.join(text[:TEXT_CHARS].lower().split())} "
    data = [crc32(shown[start : start + 3].encode("utf-8", "replace")) for start in range(max(len(shown) - 2, 1))]
    return np.array(data, np.int64) % BUCKETS


def _log_ratio(mine: Sequence[Grams], others: Sequence[Grams]) -> Floats:
    """Return how much more often each trigram is in my texts than in the others, as a logarithm, smoothed."""
    shares = []
    for texts in (mine, others):
        # A text counts each trigram once: long texts must not decide alone.
        counts = np.bincount(np.concatenate([np.unique(text) for text in texts]), minlength=BUCKETS)
        shares.append(np.log((counts + SMOOTHING) / (len(texts) + 2 * SMOOTHING)))
    ratio: Floats = shares[0] - shares[1]
    return ratio


def _scores(texts: Sequence[Grams], weights: Floats) -> Floats:
    return np.array([weights[text].mean() for text in texts])


def _area(scores: Floats, others: Floats) -> float:
    """Return the area under the ROC curve; equal scores count half."""
    ordered = np.sort(others)
    below, up_to = np.searchsorted(ordered, scores, "left"), np.searchsorted(ordered, scores, "right")
    return float((below + up_to).mean() / 2 / len(others))
