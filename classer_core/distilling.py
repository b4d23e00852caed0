"""Distill: a large model labels some of a job's texts, the embedded one learns from it (`classer tune --teacher`)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from classer_core.classifiers import Classifier
from classer_core.errors import LearningError, RecordError
from classer_core.learning import MIN_GOLD, Lesson, learn
from classer_core.models import Model, Scores
from classer_core.models.sentence_embedding import EmbeddingModel


@dataclass(frozen=True)
class OnGold:
    """Shares of right answers (0-1) on rows whose right label is known and that nothing was learned from.

    Attributes:
        before: of the embedded model as it was.
        after: of the embedded model with what it has learned.
        teacher: of the teacher.
        rows: number of rows.
    """

    before: float
    after: float
    teacher: float
    rows: int


@dataclass(frozen=True)
class Price:
    """What a row costs, as measured here.

    Attributes:
        seconds: of this machine.
        tokens: that the model reads.
    """

    seconds: float
    tokens: float


@dataclass(frozen=True)
class Distilled:
    """What was learned from a teacher.

    Attributes:
        lesson: its accuracies are shares of texts on which the teacher agrees, each judged without having been learned.
        rows: texts that the teacher has labelled.
        own: what a row costs with the embedded model.
        teacher: what it costs with the teacher.
        on_gold: None without enough gold rows.
    """

    lesson: Lesson
    rows: int
    own: Price
    teacher: Price
    on_gold: OnGold | None


def distill(
    model: EmbeddingModel,
    teacher: Model,
    classifier: Classifier,
    texts: Sequence[str],
    n_rows: int,
    gold: Sequence[tuple[str, str]] = (),
) -> Distilled:
    """Return the classifier taught by another model. Deterministic, if the teacher is.

    Args:
        model: learns.
        teacher: labels texts.
        classifier: mode single, at least two labels.
        texts: of the job, a random sample; the teacher labels the first ones.
        n_rows: texts that the teacher labels.
        gold: (text, right label), to judge by. Nothing is learned from them.

    Raises:
        LearningError: see `learn`; or the teacher can't label most of the texts.
    """
    judged = {text for text, _ in gold}
    asked = [text for text in texts if text not in judged][:n_rows]
    start = time.perf_counter()
    answers = teacher.score([(text,) for text in asked], [classifier.as_written()] * len(asked))
    teacher_s = time.perf_counter() - start
    rows, tokens = [], 0
    for text, answer in zip(asked, answers, strict=True):
        if isinstance(answer, Scores):
            rows.append((text, classifier.labels[int(answer.values.argmax())]))
            tokens += answer.tokens
    if 2 * len(rows) < len(asked) or not rows:
        reason = next((str(one.message) for one in answers if isinstance(one, RecordError)), "there are no texts")
        raise LearningError(f"the teacher has labelled {len(rows)} of {len(asked)} texts: {reason}")
    lesson = learn(model, classifier, texts, rows)
    start = time.perf_counter()
    read = model.score([(text,) for text, _ in rows], [lesson.classifier] * len(rows))
    own_s = time.perf_counter() - start
    own_tokens = sum(one.tokens for one in read if isinstance(one, Scores))
    on_gold = _on_gold(model, teacher, classifier, lesson.classifier, gold) if len(gold) >= MIN_GOLD else None
    if on_gold is not None and lesson.objection is None and on_gold.after < on_gold.before:
        objection = f"its accuracy on gold rows is {on_gold.after:.0%}, without the teacher {on_gold.before:.0%}"
        lesson = dataclasses.replace(lesson, objection=objection)
    return Distilled(
        lesson=lesson,
        rows=len(rows),
        own=Price(own_s / len(rows), own_tokens / len(rows)),
        teacher=Price(teacher_s / len(asked), tokens / len(rows)),
        on_gold=on_gold,
    )


def _on_gold(
    model: EmbeddingModel, teacher: Model, before: Classifier, after: Classifier, gold: Sequence[tuple[str, str]]
) -> OnGold:
    def accuracy(judged: Model, classifier: Classifier) -> float:
        scores = judged.score([(text,) for text, _ in gold], [classifier] * len(gold))
        best = [classifier.labels[int(one.values.argmax())] if isinstance(one, Scores) else None for one in scores]
        return float(np.mean([answer == label for answer, (_, label) in zip(best, gold, strict=True)]))

    own = accuracy(model, before.as_written()), accuracy(model, after)
    return OnGold(*own, accuracy(teacher, before.as_written()), len(gold))
