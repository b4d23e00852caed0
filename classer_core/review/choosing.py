"""Choose the rows of an output to review, in one pass over it."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from typing import Literal

Why = Literal["random", "unsure", "sure"]
# Of the rows to review: drawn by chance from all, for an honest estimate; and the surest answers, because a label that
# is always wrong is seen nowhere else. All others are those with the lowest confidence, the same number for each label.
RANDOM_SHARE, SURE_SHARE = 0.25, 0.15
SURE = 0.8


@dataclass(frozen=True)
class Candidate:
    """A row to review.

    Attributes:
        id: of the record.
        text: of the record.
        labels: the answer: one label, in mode multi any number.
        confidence: of the answer, 0-1; None without one.
        why: why it was chosen.
    """

    id: str
    text: str
    labels: tuple[str, ...]
    confidence: float | None
    why: Why = "random"


class _Sample:
    """A uniform sample (algorithm R)."""

    def __init__(self, size: int, chosen: random.Random) -> None:
        self.rows: list[Candidate] = []
        self._size, self._chosen, self._seen = size, chosen, 0

    def add(self, row: Candidate) -> None:
        self._seen += 1
        if len(self.rows) < self._size:
            self.rows.append(row)
        elif (place := self._chosen.randrange(self._seen)) < self._size:
            self.rows[place] = row


class Chooser:
    """Chooses rows to review; the same ones from the same rows.

    Args:
        size: number of rows to choose.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._chosen = random.Random(0)
        self._random = _Sample(size, self._chosen)
        self._unsure: dict[str, list[tuple[float, int, Candidate]]] = {}
        self._sure: dict[str, _Sample] = {}
        self._order = 0

    def add(self, row: Candidate) -> None:
        """Take a row."""
        self._random.add(row)
        label, sure = (row.labels[0] if row.labels else ""), row.confidence or 0.0
        if sure >= SURE:
            self._sure.setdefault(label, _Sample(self._size, self._chosen)).add(row)
        heap = self._unsure.setdefault(label, [])
        self._order -= 1
        item = (-sure, self._order, row)
        if len(heap) < self._size:
            heapq.heappush(heap, item)
        else:
            heapq.heappushpop(heap, item)

    def rows(self) -> list[Candidate]:
        """Return the chosen rows in the order of their review: the kinds mixed, so that one may stop at any time."""
        kept: dict[str, Candidate] = {}
        drawn = self._random.rows[: max(1, round(self._size * RANDOM_SHARE))]
        sure = _in_turns([sample.rows for _, sample in sorted(self._sure.items())])
        unsure = _in_turns(
            [[row for *_, row in sorted(heap, reverse=True)] for _, heap in sorted(self._unsure.items())]
        )
        limits: list[tuple[Why, list[Candidate], int]] = [
            ("random", drawn, len(drawn)),
            ("sure", sure, round(self._size * SURE_SHARE)),
            ("unsure", unsure, self._size),
        ]
        for why, rows, most in limits:
            for row in rows:
                if most and len(kept) < self._size and row.id not in kept:
                    kept[row.id] = Candidate(row.id, row.text, row.labels, row.confidence, why)
                    most -= 1
        found = list(kept.values())
        self._chosen.shuffle(found)
        return found


def _in_turns(lists: list[list[Candidate]]) -> list[Candidate]:
    """Return the first of each list, then the second of each, and so on."""
    longest = max(map(len, lists), default=0)
    return [rows[place] for place in range(longest) for rows in lists if place < len(rows)]
