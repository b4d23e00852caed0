"""How well label names alone sort the evaluation sets, which are never trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from classer_core.classifiers import Classifier
from classer_core.models.embedding import EmbeddingModel

# Sets in English with one label a text, none of whose texts are in the training pool in any form ...
UNSEEN = [
    *["ag_news", "app_reviews", "bbc_news", "financial_phrasebank", "github_issues", "movie_reviews_long"],
    *["newsgroups20_mini", "sms_spam", "sst2", "trec", "tweet_emotion", "tweet_irony", "tweet_offensive"],
    "tweet_sentiment",
]
# ... sets whose other rows are in the pool, and sets in other languages (other rows of sib200 are in the pool too).
SEEN = ["banking77", "clinc150", "hate_offensive_tweets", "snips"]
OTHER_LANGUAGES = ["sib200_topics", "nusax_sentiment", "thucnews_zh"]
MAX_ROWS = 1_000


def evaluate(model: EmbeddingModel, folder: Path) -> float:
    """A model and a set's folder in (`test.jsonl`, `labels.json`), macro-F1 x100 over its first 1,000 test rows out."""
    labels = json.loads((folder / "labels.json").read_text())["labels"]
    with (folder / "test.jsonl").open() as lines:
        rows: list[dict[str, Any]] = [json.loads(line) for line, _ in zip(lines, range(MAX_ROWS), strict=False)]
    vectors = model.label_vectors(Classifier.of(labels))
    predicted = (model.embed([row["text"] for row in rows]) @ vectors.T).argmax(axis=1)
    gold = np.array([labels.index(row["label"]) for row in rows])
    return macro_f1(gold, predicted)


def macro_f1(gold: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any]) -> float:
    """Positions of the right and of the predicted labels (n_rows,) in, the mean of the labels' F1 x100 out."""
    scores = []
    for label in np.union1d(gold, predicted):
        right = np.sum((gold == label) & (predicted == label))
        scores.append(2 * right / (np.sum(gold == label) + np.sum(predicted == label)))
    return 100 * float(np.mean(scores))
