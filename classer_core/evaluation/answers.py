"""Right labels and given labels as arrays: rows by labels, and every judged answer with its confidence."""

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
class Answers:
    """Right labels and given answers.

    `gold`, `given`: (n_rows, n_labels) sparse, 1 where a label is right, or was given. Beside them every single answer,
    given or not, as position of its row and of its label, with its confidence: in mode single the best label of each
    row; in mode multi every label of each row.
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
    ) -> Answers:
        """One right label and one answer a row; `final` where abstaining turned answers into a fallback label."""
        place = {label: position for position, label in enumerate(labels)}
        rows = np.arange(len(gold), dtype=np.int64)
        best = np.array([place[label] for label in answered], np.int64)
        right = np.array([place[label] for label in gold], np.int64)
        said = best if final is None else np.array([place[label] for label in final], np.int64)
        shape = (len(rows), len(labels))
        return cls(tuple(labels), True, _ones(rows, right, shape), _ones(rows, said, shape), rows, best, confidence)

    @classmethod
    def multi(
        cls,
        labels: Sequence[str],
        gold: Sequence[Sequence[str]],
        row: Integers,
        label: Integers,
        confidence: Floats,
        threshold: float,
    ) -> Answers:
        """Any number of right labels a row, and every label's confidence; those at `threshold` or above are given."""
        place = {name: position for position, name in enumerate(labels)}
        shape = (len(gold), len(labels))
        pairs = [(n, place[name]) for n, names in enumerate(gold) for name in dict.fromkeys(names)]
        right = np.array(pairs, np.int64).reshape(-1, 2)
        above = confidence >= threshold
        given = _ones(row[above], label[above], shape)
        return cls(tuple(labels), False, _ones(right[:, 0], right[:, 1], shape), given, row, label, confidence)

    @property
    def n_rows(self) -> int:
        """Rows that were judged."""
        return int(self.gold.shape[0])

    @cached_property
    def correct(self) -> Flags:
        """(n_answers,) whether each answer's label is right for its row."""
        return self._marked(self.gold)

    @cached_property
    def wrong(self) -> Flags:
        """(n_answers,) whether each answer's label was given, and is not right."""
        return self._marked(self.given) & ~self.correct

    @cached_property
    def hits(self) -> Any:
        """(n_rows, n_labels) sparse: right labels that were given."""
        return self.gold.multiply(self.given).tocsr()

    def _marked(self, matrix: Any) -> Flags:
        rows, labels = matrix.nonzero()
        width = len(self.labels)
        return np.isin(self.row * width + self.label, rows.astype(np.int64) * width + labels)


def _ones(rows: Integers, columns: Integers, shape: tuple[int, int]) -> Any:
    return sparse.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
