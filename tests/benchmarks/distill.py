"""What the embedded model learns from a teacher: macro-F1 x100 on the test rows of sets of CLASSER_CORPUS.

    python -m tests.benchmarks.distill [generate:FOLDER]

Texts are up to 2,000 train rows of a set. Oracle: a teacher that gives the right labels of 200 or 1,000 of them. With a
model as argument, the teacher is this one, of 200 texts.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import f1_score

from classer_core import Classifier, Scores, load_model
from classer_core.distilling import distill
from classer_core.models import EMBEDDED, Model
from tests.benchmarks.sets import LabelledSet, Remembering

SETS = ("ag_news", "snips", "sst2", "tweet_emotion", "trec", "banking77")
TEXTS, FEW, MANY = 2_000, 200, 1_000


class Oracle:
    """Knows the right labels of texts."""

    id = "oracle"

    def __init__(self, labels: dict[str, str]) -> None:
        self._labels = labels

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores]:
        """Return what it knows."""
        pairs = zip(texts, classifiers, strict=True)
        return [
            Scores(np.array([5.0 * (label == self._labels[text]) for label in own.labels], np.float32), 1)
            for (text,), own in pairs
        ]


def main() -> None:
    """Print a row for each set."""
    model = Remembering.load(EMBEDDED)
    named = load_model(sys.argv[1]) if sys.argv[1:] else None
    last = f" {FEW} texts of the model | the model itself |" if named else ""
    print(f"| set | label names | {FEW} texts of the oracle | {MANY} |{last}")
    print("|---|---|---|---|" + ("---|---|" if named else ""))
    for name in SETS:
        data = LabelledSet(name)
        known = data.train(TEXTS)
        cells = [_f1(model, data.classifier(), data)]
        oracle: Model = Oracle(known)
        teachers = [(oracle, FEW), (oracle, MANY)] + ([(named, FEW)] if named else [])
        for teacher, n_rows in teachers:
            distilled = distill(model, teacher, data.classifier(), list(known), n_rows)
            refused = "" if distilled.lesson.objection is None else " (refused)"
            cells.append(_f1(model, distilled.lesson.classifier, data) + refused)
        if named is not None:
            cells.append(_f1(named, data.classifier(), data, rows=FEW))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _f1(model: Model, classifier: Classifier, data: LabelledSet, rows: int | None = None) -> str:
    texts = data.texts[:rows]
    scores = model.score([(text,) for text in texts], [classifier] * len(texts))
    best = [int(one.values.argmax()) if isinstance(one, Scores) else -1 for one in scores]
    return f"{100 * f1_score(data.gold[:rows], best, average='macro', labels=np.unique(data.gold)):.1f}"


if __name__ == "__main__":
    main()
