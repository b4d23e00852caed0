"""WindowedModel: what is common to all kinds that score one window of a text at a time.

A kind says how it cuts a text into windows and how it scores windows. Long texts, several parts, examples, a shortlist
of labels and texts that are too long are handled here, once for all kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from classer_core.classifiers import Classifier
from classer_core.errors import FailureCode, ModelLoadError, RecordError
from classer_core.models import Model, Scores
from classer_core.models.corrections import Correction, fit_correction
from classer_core.models.prompts import by_classifier
from classer_core.models.windows import MAX_TEXT_TOKENS

Values = npt.NDArray[np.float32]
Window = TypeVar("Window")

CLASSIFIERS_KEPT = 256
# How far labels that are not on the shortlist are below the worst one on it, in logits.
OFF_SHORTLIST = 10.0


@dataclass(slots=True)
class WindowScores:
    """The scores of one window.

    Attributes:
        values: (n_labels,) float32 logits, as in `Scores`.
        tokens: tokens that were read for it.
    """

    values: Values
    tokens: int


class WindowScorer(Protocol[Window]):
    """A kind of model: cuts texts into windows and scores windows against labels."""

    @property
    def id(self) -> str:
        """Return the model's name and the digest of everything that can change a score; part of every result."""

    def windows(self, texts: Sequence[str], classifiers: Sequence[Classifier]) -> list[list[Window] | None]:
        """Return the windows of each text, at least one; None for more than `MAX_TEXT_TOKENS` tokens.

        Args:
            texts: not empty.
            classifiers: one per text: labels may take a part of the model's input.
        """

    def score_windows(
        self, windows: Sequence[Window], classifiers: Sequence[Classifier]
    ) -> list[WindowScores | RecordError]:
        """Return the scores of each window for the labels of the classifier at the same position.

        For a classifier that `is_exclusive`, the softmax of the values are probabilities, otherwise the sigmoid of
        each. Windows of different texts may share a batch.
        """


class WindowedModel:
    """A `Model` made of a `WindowScorer`.

    A text's logits are the mean over its windows, weighted by their tokens.

    Args:
        scorer: the kind of model.
        shortlist: the number of labels that are scored per text; None for all.
        preselect: the model that chooses them, if there is a shortlist.
    """

    def __init__(self, scorer: WindowScorer[Window], shortlist: int | None = None, preselect: Model | None = None):
        if shortlist is not None and preselect is None:
            raise ModelLoadError("a shortlist needs a model that chooses the labels")
        self._scorer: WindowScorer[Window] = scorer
        self._shortlist = shortlist or 0
        self._preselect = preselect
        self._correction = lru_cache(maxsize=CLASSIFIERS_KEPT)(self._fit_correction)
        self._shorter = lru_cache(maxsize=64 * CLASSIFIERS_KEPT)(Classifier.restricted)

    @property
    def id(self) -> str:
        """Return the id of the scorer, and of the model that chooses labels if there is one."""
        if self._preselect is None:
            return self._scorer.id
        return f"{self._scorer.id}+top{self._shortlist}:{self._preselect.id}"

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        """Return the scores of each text for its classifier's labels, as `Model.score` does."""
        scores = self._score(texts, classifiers)
        for classifier, own in by_classifier(classifiers):
            scored = [n for n in own if isinstance(scores[n], Scores)]
            if scored and classifier.examples and classifier.is_exclusive:
                self._correct(scores, scored, classifier)
        return scores

    def _correct(self, scores: list[Scores | RecordError], positions: Sequence[int], classifier: Classifier) -> None:
        """Correct the scores at some positions by the classifier's examples; they fail where an example does."""
        try:
            correction = self._correction(classifier)
        except RecordError as error:
            for n in positions:
                scores[n] = error
            return
        for n in positions:
            if isinstance(one := scores[n], Scores):
                one.values = correction.apply(one.values)

    def _fit_correction(self, classifier: Classifier) -> Correction:
        """Return what the classifier's examples say about the scores of its labels.

        Raises:
            RecordError: an example can't be scored. A correction by the others would give other answers than in
                processes where it can.
        """
        texts = [(text,) for _, own in classifier.examples for text in own]
        labels = [classifier.labels.index(label) for label, own in classifier.examples for _ in own]
        scores = self._score(texts, [classifier] * len(texts))
        for one in scores:
            if isinstance(one, RecordError):
                raise one
        values = np.stack([one.values for one in scores if isinstance(one, Scores)])
        return fit_correction(values, np.array(labels))

    def _score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        chosen, read = self._choose_labels(texts, classifiers)
        parts = [part for parts in texts for part in parts]
        owners = np.repeat(np.arange(len(texts)), [len(parts) for parts in texts])
        windows = self._scorer.windows(parts, [chosen[owner] for owner in owners])
        flat = [window for part_windows in windows for window in part_windows or ()]
        flat_owners = [owner for owner, own in zip(owners, windows, strict=True) for _ in own or ()]
        scored = iter(self._scorer.score_windows(flat, [chosen[owner] for owner in flat_owners]) if flat else ())
        per_part = [[next(scored) for _ in own] if own is not None else None for own in windows]
        outcomes: list[Scores | RecordError] = []
        start = 0
        for n, text in enumerate(texts):
            own, start = per_part[start : start + len(text)], start + len(text)
            outcome = _learned_error(classifiers[n], self.id) or _joined(own)
            if isinstance(outcome, Scores):
                outcome.values = _spread(outcome.values, chosen[n], classifiers[n])
                outcome.tokens += read[n]
            outcomes.append(outcome)
        return outcomes

    def _choose_labels(
        self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]
    ) -> tuple[list[Classifier], list[int]]:
        """Return the classifier of each text with the labels that are scored, and the tokens read to choose them."""
        chosen, read = list(classifiers), [0] * len(texts)
        long = [n for n, classifier in enumerate(classifiers) if 0 < self._shortlist < len(classifier.labels)]
        if self._preselect is None or not long:
            return chosen, read
        untaught = [self._shorter(classifiers[n], classifiers[n].labels) for n in long]
        for n, scores in zip(long, self._preselect.score([texts[n] for n in long], untaught), strict=True):
            if isinstance(scores, Scores):
                best = np.argsort(-scores.values, kind="stable")[: self._shortlist]
                chosen[n] = self._shorter(classifiers[n], tuple(classifiers[n].labels[position] for position in best))
                read[n] = scores.tokens
        return chosen, read


def _learned_error(classifier: Classifier, id: str) -> RecordError | None:
    if classifier.learned is None:
        return None
    message = f"{classifier.name} was tuned for model {classifier.learned.model}, and the job's model is {id}"
    return RecordError(FailureCode.CLASSIFIER_INVALID, f"{message}: name the model it was tuned for", "classifier")


def _joined(parts: Sequence[list[WindowScores | RecordError] | None]) -> Scores | RecordError:
    """Return the scores of a text, given those of the windows of each part; None for a part that is too long."""
    too_long = f"the text has more than {MAX_TEXT_TOKENS:,} tokens: split it into several records"
    rows, owners = [], []
    for position, windows in enumerate(parts):
        if windows is None:
            return RecordError(FailureCode.TEXT_TOO_LONG, too_long, "text")
        for window in windows:
            if isinstance(window, RecordError):
                return window
            rows.append(window)
            owners.append(position)
    weights = np.array([max(row.tokens, 1) for row in rows], np.float64)
    values = np.stack([row.values for row in rows]).astype(np.float64)
    mean = weights @ values / weights.sum()
    best = int(mean.argmax())
    towards_best = np.zeros(len(parts))
    np.add.at(towards_best, owners, weights * (values[:, best] - values.mean(axis=1)))
    tokens = sum(row.tokens for row in rows)
    return Scores(mean.astype(np.float32), tokens, strongest=int(towards_best.argmax()))


def _spread(values: Values, chosen: Classifier, classifier: Classifier) -> Values:
    """Return values (n_labels,) for all labels of a classifier; those that were not chosen are out of question."""
    if len(chosen.labels) == len(classifier.labels):
        return values
    spread = np.full(len(classifier.labels), min(float(values.min()), 0.0) - OFF_SHORTLIST, np.float32)
    spread[[classifier.labels.index(label) for label in chosen.labels]] = values
    return spread
