"""A job's own texts in, a classifier that knows them out: without labels, with some, or both. What `tune` calls."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classer_core.calibration import CALIBRATION, factor_for_mean
from classer_core.classifiers import Classifier, shown
from classer_core.errors import ClasserError
from classer_core.examples_head import fit_examples
from classer_core.heads import (
    CORPUS_PRIOR_SHARPNESS,
    Floats,
    Head,
    Labelled,
    Vectors,
    fit_corpus,
    softmax,
)
from classer_core.learned import Learned
from classer_core.models.embedding import EmbeddingModel

Positions = npt.NDArray[np.int64]

MIN_TEXTS = 50
# Of a corpus larger than this, an even sample.
MAX_TEXTS = 20_000
# Confidence is fitted on gold rows, and the guard listens to them, from this many on.
MIN_GOLD = 24
FOLDS = 4
# The spread of the scores of a head fitted on examples, before a corpus is learned from.
EXAMPLES_SHARPENED = 2.0
# Guard: learning that changes more answers than this, or whose halves agree on fewer, has lost the labels' meaning.
# Over 25 real sets with two models, what helped changed 3-25% and agreed on 66-97%.
MAX_CHANGED = 0.4
MIN_STABILITY = 0.6
# A label that had this share of the answers before and none of them after was swallowed by another.
SWALLOWED_SHARE = 0.02


class LearningError(ClasserError):
    """There is nothing to learn from, or no way to learn it; the message says why and what to do."""


@dataclass(frozen=True)
class Lesson:
    """What was learned, what is expected of it, and what the guard says.

    Attributes:
        classifier: the given one, with `learned`.
        accuracy_before: expected share of right answers without it; held-out gold rows if there are enough of them,
            else the mean confidence.
        accuracy_after: the same with it.
        changed: share of the corpus' answers that it changes.
        stability: share of answers on which what two halves of the corpus taught agrees.
        objection: why the guard finds it worse; None if it does not.
    """

    classifier: Classifier
    accuracy_before: float
    accuracy_after: float
    changed: float
    stability: float
    objection: str | None


def learn(
    model: EmbeddingModel,
    classifier: Classifier,
    texts: Sequence[str],
    gold: Sequence[tuple[str, str]] = (),
) -> Lesson:
    """Learns from texts, and from (text, label) rows if there are any. Without chance: equal input, equal lesson.

    Raises:
        LearningError: mode multi, one label, a gold label that is none, or too few texts.
    """
    _check(classifier, texts, gold)
    untaught = dataclasses.replace(classifier, learned=None)
    step = -(-len(texts) // MAX_TEXTS)
    texts = texts[:: max(step, 1)]
    corpus = model.embed(texts)
    positions = np.array([classifier.labels.index(label) for _, label in gold], dtype=np.int64)
    rows = Labelled(model.embed([text for text, _ in gold]) if gold else corpus[:0], positions)
    teacher = _Teacher(model, untaught, corpus)

    before = model.head(untaught).logits(corpus)
    raw = teacher.teach(rows)
    after = raw.logits(corpus)
    before_best, after_best = before.argmax(axis=1), after.argmax(axis=1)
    changed = float((before_best != after_best).mean())
    halves = [teacher.teach(rows, slice(start, None, 2)).logits(corpus).argmax(axis=1) for start in (0, 1)]
    stability = float((halves[0] == halves[1]).mean())
    if len(gold) >= MIN_GOLD:
        held_out = teacher.held_out(rows)
        factor = _best_factor(held_out, positions)
        accuracy_before = float((model.head(untaught).logits(rows.vectors).argmax(axis=1) == positions).mean())
        accuracy_after = float((held_out.argmax(axis=1) == positions).mean())
    else:
        confidence = float(softmax(before).max(axis=1).mean())
        accuracy_after = confidence if teacher.has(rows) else CALIBRATION.corpus_accuracy(confidence, stability)
        accuracy_before = accuracy_after - CALIBRATION.corpus_gain * changed
        factor = factor_for_mean(after, accuracy_after)
    head = raw.scaled(factor)
    digest = hashlib.sha256("\0".join([*texts, *(f"{text}\1{label}" for text, label in gold)]).encode()).hexdigest()
    learned = Learned.of_head(head, model.weights_id, classifier.labels, len(texts), len(gold), digest)
    return Lesson(
        classifier=dataclasses.replace(classifier, learned=learned),
        accuracy_before=round(accuracy_before, 4),
        accuracy_after=round(accuracy_after, 4),
        changed=round(changed, 4),
        stability=round(stability, 4),
        objection=_objection(classifier, before_best, after_best, changed, stability, accuracy_before, accuracy_after),
    )


class _Teacher:
    """Teaches the same classifier and corpus from different gold rows."""

    def __init__(self, model: EmbeddingModel, classifier: Classifier, corpus: Vectors) -> None:
        self._words = model.label_vectors(dataclasses.replace(classifier, examples=()))
        self._examples = model.examples(classifier)
        self._corpus = corpus

    def has(self, gold: Labelled) -> bool:
        """Return whether any text of known label is taught."""
        return len(self._examples) + len(gold) > 0

    def teach(self, gold: Labelled, part: slice = slice(None)) -> Head:
        """An uncalibrated head from examples, gold rows and a part of the corpus."""
        known = Labelled(
            np.concatenate([self._examples.vectors, gold.vectors]),
            np.concatenate([self._examples.labels, gold.labels]),
        )
        if len(known) == 0:
            return fit_corpus(Head.of_labels(self._words, CORPUS_PRIOR_SHARPNESS), self._corpus[part])
        prior = fit_examples(self._words, known).head.scaled(EXAMPLES_SHARPENED)
        return fit_corpus(prior, self._corpus[part], known)

    def held_out(self, gold: Labelled) -> Floats:
        """Logits (n_gold, n_labels) of each gold row by a head that was not taught it."""
        folds = _folds(gold.labels)
        logits = np.zeros((len(gold), len(self._words)))
        for fold in range(FOLDS):
            mine = folds == fold
            if mine.any():
                logits[mine] = self.teach(gold.rows(~mine)).logits(gold.vectors[mine])
        return logits


def _check(classifier: Classifier, texts: Sequence[str], gold: Sequence[tuple[str, str]]) -> None:
    if classifier.mode == "multi" or len(classifier.labels) < 2:
        kind = "mode multi" if classifier.mode == "multi" else "a single label"
        raise LearningError(f"{kind} can't be learned: give two or more labels, of which exactly one is right")
    if len(texts) < MIN_TEXTS:
        raise LearningError(f"there are {len(texts)} texts to learn from: give at least {MIN_TEXTS}")
    for text, label in gold:
        if label not in classifier.labels:
            raise LearningError(
                f"the labelled text {shown(text)} has label {shown(label)}, which the job does not have"
            )


def _folds(labels: Positions) -> Positions:
    """Rows of each label dealt out in turn."""
    folds = np.zeros(len(labels), dtype=np.int64)
    dealt = 0
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        folds[mine] = (np.arange(len(mine)) + dealt) % FOLDS
        dealt += len(mine)
    return folds


def _best_factor(
    logits: Floats,
    labels: Positions,
) -> float:
    """The factor of held-out logits under which the right labels are most likely."""
    factors = np.geomspace(0.02, 5, 60)
    rows = np.arange(len(labels))
    losses = [-np.log(softmax(factor * logits)[rows, labels] + 1e-9).mean() for factor in factors]
    return float(factors[int(np.argmin(losses))])


def _objection(
    classifier: Classifier,
    before: Positions,
    after: Positions,
    changed: float,
    stability: float,
    accuracy_before: float,
    accuracy_after: float,
) -> str | None:
    if accuracy_after < accuracy_before:
        return f"on held-out labelled rows it is right on {accuracy_after:.0%}, without it on {accuracy_before:.0%}"
    if changed > MAX_CHANGED:
        return f"it changes {changed:.0%} of the answers (more than {MAX_CHANGED:.0%})"
    if stability < MIN_STABILITY:
        return f"two halves of the texts teach answers that agree on {stability:.0%} (less than {MIN_STABILITY:.0%})"
    for position, label in enumerate(classifier.labels):
        share = float((before == position).mean())
        if share >= SWALLOWED_SHARE and not (after == position).any():
            return f"{shown(label)} had {share:.0%} of the answers before and has none after"
    return None
