"""Tune a classifier on a job's own texts, with labels, without, or both. `classer tune` calls this."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classer_core.calibration import CALIBRATION, factor_for_mean
from classer_core.classifiers import Classifier, shown
from classer_core.errors import LearningError
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
from classer_core.models.sentence_embedding import EmbeddingModel

Positions = npt.NDArray[np.int64]

MIN_TEXTS = 50
# Larger corpora are sampled evenly.
MAX_TEXTS = 20_000
# From this many gold rows on, confidences are fitted on them, and the guard compares accuracies on them.
MIN_GOLD = 24
FOLDS = 4
# Standard deviation of the scores of a head fitted on examples, as prior of the learning from a corpus.
EXAMPLES_SHARPENED = 2.0
# Guard: a head that changes more answers than this, or whose two halves agree on fewer, has lost the labels' meaning.
# On 25 real data sets with two models, heads that helped changed 3-25% of the answers and agreed on 66-97%.
MAX_CHANGED = 0.4
MIN_STABILITY = 0.6
# A label with at least this share of the answers before, and none after, was swallowed by another label.
SWALLOWED_SHARE = 0.02


@dataclass(frozen=True)
class Lesson:
    """A tuned classifier and the estimates of its quality. Shares and accuracies are 0-1.

    Attributes:
        classifier: the classifier with `learned`.
        accuracy_before: expected accuracy without tuning: on held-out gold rows if there are enough of them, else the
            mean confidence.
        accuracy_after: expected accuracy with tuning.
        changed: share of the corpus whose answer changes.
        stability: share of the corpus on which heads learned from either half of it agree.
        objection: why the guard rejects the tuned classifier; None if it accepts it.
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
    """Return the classifier tuned on texts and, if there are any, on labelled texts. Deterministic.

    Args:
        model: embeds the texts.
        classifier: mode single, at least two labels.
        texts: at least `MIN_TEXTS` unlabelled texts.
        gold: (text, label).

    Raises:
        LearningError: mode multi, a single label, a gold label that the classifier does not have, or too few texts.
    """
    _check(classifier, texts, gold)
    untaught = classifier.as_written()
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
        classifier=dataclasses.replace(untaught, learned=learned),
        accuracy_before=round(accuracy_before, 4),
        accuracy_after=round(accuracy_after, 4),
        changed=round(changed, 4),
        stability=round(stability, 4),
        objection=_objection(classifier, before_best, after_best, changed, stability, accuracy_before, accuracy_after),
    )


class _Teacher:
    """Fits heads of one classifier on one corpus, with different gold rows."""

    def __init__(self, model: EmbeddingModel, classifier: Classifier, corpus: Vectors) -> None:
        self._words = model.label_vectors(dataclasses.replace(classifier, examples=()))
        self._examples = model.examples(classifier)
        self._corpus = corpus

    def has(self, gold: Labelled) -> bool:
        """Return whether there are labelled texts: examples or gold rows."""
        return len(self._examples) + len(gold) > 0

    def teach(self, gold: Labelled, part: slice = slice(None)) -> Head:
        """Return an uncalibrated head fitted on the examples, gold rows and a part of the corpus."""
        labelled = Labelled(
            np.concatenate([self._examples.vectors, gold.vectors]),
            np.concatenate([self._examples.labels, gold.labels]),
        )
        if len(labelled) == 0:
            return fit_corpus(Head.of_labels(self._words, CORPUS_PRIOR_SHARPNESS), self._corpus[part])
        prior = fit_examples(self._words, labelled).head.scaled(EXAMPLES_SHARPENED)
        return fit_corpus(prior, self._corpus[part], labelled)

    def held_out(self, gold: Labelled) -> Floats:
        """Return the logits (n_gold, n_labels) of each gold row by a head fitted without this row."""
        folds = _folds(gold.labels)
        logits = np.zeros((len(gold), len(self._words)))
        for fold in range(FOLDS):
            held_out = folds == fold
            if held_out.any():
                logits[held_out] = self.teach(gold.rows(~held_out)).logits(gold.vectors[held_out])
        return logits


def _check(classifier: Classifier, texts: Sequence[str], gold: Sequence[tuple[str, str]]) -> None:
    if classifier.mode == "multi" or len(classifier.labels) < 2:
        kind = "mode multi" if classifier.mode == "multi" else "a single label"
        raise LearningError(f"{kind} can't be tuned: give two or more labels, of which exactly one is right")
    if len(texts) < MIN_TEXTS:
        raise LearningError(f"there are {len(texts)} texts to tune on: give at least {MIN_TEXTS}")
    for text, label in gold:
        if label not in classifier.labels:
            raise LearningError(
                f"the labelled text {shown(text)} has the label {shown(label)}, which the job does not have: correct "
                "the label, or add it to the job"
            )


def _folds(labels: Positions) -> Positions:
    """Return a fold per row; the rows of each label are spread evenly over the folds.

    >>> _folds(np.array([0, 1, 0, 1, 0])).tolist()
    [0, 3, 1, 0, 2]
    """
    folds = np.zeros(len(labels), dtype=np.int64)
    assigned = 0
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        folds[positions] = (np.arange(len(positions)) + assigned) % FOLDS
        assigned += len(positions)
    return folds


def _best_factor(logits: Floats, labels: Positions) -> float:
    """Return the factor of held-out logits at which the right labels are most likely."""
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
        return f"its accuracy on held-out labelled rows is {accuracy_after:.0%}, without tuning {accuracy_before:.0%}"
    if changed > MAX_CHANGED:
        return f"it changes {changed:.0%} of the answers (more than {MAX_CHANGED:.0%})"
    if stability < MIN_STABILITY:
        agreement = f"{stability:.0%} of the answers (less than {MIN_STABILITY:.0%})"
        return f"classifiers tuned on either half of the texts agree on {agreement}"
    for position, label in enumerate(classifier.labels):
        share = float((before == position).mean())
        if share >= SWALLOWED_SHARE and not (after == position).any():
            return f"{shown(label)} had {share:.0%} of the answers before and has none after"
    return None
