"""Which shared sets are related to the training pools, and the score they are judged by."""

from __future__ import annotations

from typing import Any

import numpy as np

# Shared sets whose other rows are in the training pools.
SEEN = ["banking77", "clinc150", "hate_offensive_tweets", "snips"]
OTHER_LANGUAGES = ["sib200_topics", "nusax_sentiment", "thucnews_zh"]
MAX_ROWS = 1_000


def macro_f1(gold: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any]) -> float:
    """Return the mean of the labels' F1 x100, given positions of the right and of the predicted labels (n_rows,)."""
    scores = []
    for label in np.union1d(gold, predicted):
        right = np.sum((gold == label) & (predicted == label))
        scores.append(2 * right / (np.sum(gold == label) + np.sum(predicted == label)))
    return 100 * float(np.mean(scores))
