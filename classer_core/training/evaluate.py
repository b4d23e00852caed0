"""Which shared sets are related to the training pools, and the score they are judged by."""

from __future__ import annotations

from typing import Any

import numpy as np

# Sets whose other rows are in the pools, and sets in other languages (other rows of sib200 are in the pools too).
SEEN = [
    *["ag_news", "app_reviews", "bbc_news", "financial_phrasebank", "github_issues", "movie_reviews_long"],
    *["newsgroups20_mini", "sms_spam", "sst2", "trec", "tweet_emotion", "tweet_irony", "tweet_offensive"],
    "tweet_sentiment",
]
# ... sets whose other rows are in the pool, and sets in other languages (other rows of sib200 are in the pool too).
SEEN = ["banking77", "clinc150", "hate_offensive_tweets", "snips"]
OTHER_LANGUAGES = ["sib200_topics", "nusax_sentiment", "thucnews_zh"]
MAX_ROWS = 1_000


def macro_f1(gold: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any]) -> float:
    """Positions of the right and of the predicted labels (n_rows,) in, the mean of the labels' F1 x100 out."""
    scores = []
    for label in np.union1d(gold, predicted):
        right = np.sum((gold == label) & (predicted == label))
        scores.append(2 * right / (np.sum(gold == label) + np.sum(predicted == label)))
    return 100 * float(np.mean(scores))
