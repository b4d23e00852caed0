"""Predictions: gold labels and given labels as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Predictions:
    """Gold labels, given labels and confidences of the rows that were classified.

    An answer is a pair of row and label that has a confidence: in mode single the best label of each row, in mode multi
    every label of each row.

    Attributes:
        labels: names of the labels.
        one_of: whether exactly one label per row is right (mode single).
        gold: (n_rows, n_labels) sparse, 1 where a label is right.
        given: (n_rows, n_labels) sparse, 1 where a label was given.
        row: (n_answers,) row of each answer.
        label: (n_answers,) position of the label of each answer.
        confidence: (n_answers,) 0-1.
    """

    labels: tuple[str, ...]
    one_of: bool
    gold: Any
    given: Any
    row: Integers
    label: Integers
    confidence: Floats

    @classmethod
    def single(
        cls,
        labels: Sequence[str],
        gold: Sequence[str],
        answered: Sequence[str],
        confidence: Floats,
        final: Sequence[str] | None = None,
    ) -> Predictions:
        """Return the predictions of mode single.

        Args:
            labels: all labels.
            gold: the right label of each row.
            answered: the best label of each row.
            confidence: (n_rows,) of `answered`, 0-1.
            final: the label given to each row, if abstaining replaced some of `answered` by a fallback label.

        >>> predictions = Predictions.single(["a", "b"], ["a", "b"], ["a", "a"], np.array([0.9, 0.6]))
        >>> predictions.n_rows, predictions.correct.tolist(), predictions.wrong.tolist()
        (2, [True, False], [False, True])
        """
        position_of = {label: position for position, label in enumerate(labels)}
        rows = np.arange(len(gold), dtype=np.int64)
        best = np.array([position_of[label] for label in answered], np.int64)
        right = np.array([position_of[label] for label in gold], np.int64)
        given = best if final is None else np.array([position_of[label] for label in final], np.int64)
        shape = (len(rows), len(labels))
        return cls(tuple(labels), True, _ones(rows, right, shape), _ones(rows, given, shape), rows, best, confidence)

    @classmethod
    def multi(
        cls,
        labels: Sequence[str],
        gold: Sequence[Sequence[str]],
        row: Integers,
        label: Integers,
        confidence: Floats,
        threshold: float,
    ) -> Predictions:
        """Return the predictions of mode multi.

        Args:
            labels: all labels.
            gold: the right labels of each row, any number.
            row: (n_answers,) row of each answer.
            label: (n_answers,) position of the label of each answer.
            confidence: (n_answers,) 0-1.
            threshold: the confidence from which a label is given.
        """
        position_of = {name: position for position, name in enumerate(labels)}
        shape = (len(gold), len(labels))
        pairs = [(n, position_of[name]) for n, names in enumerate(gold) for name in dict.fromkeys(names)]
        right = np.array(pairs, np.int64).reshape(-1, 2)
        above = confidence >= threshold
        given = _ones(row[above], label[above], shape)
        return cls(tuple(labels), False, _ones(right[:, 0], right[:, 1], shape), given, row, label, confidence)

    @property
    def n_rows(self) -> int:
        """Return the number of rows."""
        return int(self.gold.shape[0])

    @cached_property
    def correct(self) -> Flags:
        """Return whether the label of each answer is right (n_answers,)."""
        return self._marked(self.gold)

    @cached_property
    def wrong(self) -> Flags:
        """Return whether the label of each answer was given and is wrong (n_answers,)."""
        return self._marked(self.given) & ~self.correct

    @cached_property
    def hits(self) -> Any:
        """Return a sparse matrix (n_rows, n_labels), 1 where a right label was given."""
        return self.gold.multiply(self.given).tocsr()

    def _marked(self, matrix: Any) -> Flags:
        rows, labels = matrix.nonzero()
        width = len(self.labels)
        return np.isin(self.row * width + self.label, rows.astype(np.int64) * width + labels)


def _ones(rows: Integers, columns: Integers, shape: tuple[int, int]) -> Any:
    return sparse.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
