"""ReviewQueue: rows to review, and a file of gold rows that holds every answer as soon as it is given."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import orjson

from classer_core.review.choosing import Candidate
from classer_core.storage import write_whole

MAX_NOTE_CHARS = 2_000


class ReviewQueue:
    """Rows to review by any number of people. Thread-safe.

    Args:
        rows: in the order of their review.
        labels: that may be given.
        file: of gold rows, as NDJSON; rows that are there already are kept, and not asked for again.
        columns: names of the file's columns `id` and `text`.
        several: whether a row may have several labels.

    Raises:
        ValueError: the file is there, and is not one of a review.
    """

    def __init__(
        self,
        rows: Sequence[Candidate],
        labels: Sequence[str],
        file: Path,
        columns: tuple[str, str] = ("id", "text"),
        several: bool = False,
    ) -> None:
        self.labels = list(labels)
        self.several = several
        self.file = file
        self._id, self._text = columns
        self._lock = threading.Lock()
        self._rows = {row.id: row for row in rows}
        self._answers: dict[str, dict[str, Any]] = _read(file, self._id)
        self._left = [row.id for row in rows if row.id not in self._answers]
        self._undone: list[str] = []

    def state(self) -> dict[str, Any]:
        """Return the row to review, None if all are done, and how far the review is."""
        with self._lock:
            row = self._rows[self._left[0]] if self._left else None
            shown = None
            if row is not None:
                shown = {"id": row.id, "text": row.text, "labels": row.labels, "confidence": row.confidence}
            # Before the answer nobody is told why a row was chosen: it would sway the answer.
            return {"row": shown, "done": len(self._answers), "left": len(self._left), "accuracy": self._accuracy()}

    def answer(self, id: str, labels: Sequence[str], note: str = "") -> None:
        """Take the right labels of a row, and write them down; none of them is an answer, too.

        Raises:
            ValueError: the row is not one of the queue, or a label not one of its labels.
        """
        unknown = [label for label in labels if label not in self.labels]
        if id not in self._rows or unknown or (len(labels) > 1 and not self.several):
            raise ValueError("not an answer to a row of this review")
        row = self._rows[id]
        given: Any = list(dict.fromkeys(labels)) if self.several else (labels[0] if labels else None)
        answered = row.labels if self.several else row.labels[:1]
        with self._lock:
            self._answers[id] = {
                self._id: id,
                self._text: row.text,
                "label": given,
                "note": note[:MAX_NOTE_CHARS] or None,
                "answer": list(answered) if self.several else (answered[0] if answered else None),
                "confidence": row.confidence,
                "why": row.why,
            }
            self._left = [other for other in self._left if other != id]
            self._undone.append(id)
            self._write()

    def skip(self, id: str) -> None:
        """Put a row at the end."""
        with self._lock:
            if id in self._left:
                self._left = [*(other for other in self._left if other != id), id]

    def undo(self) -> None:
        """Take back the last answer of this session; its row comes next."""
        with self._lock:
            if self._undone:
                id = self._undone.pop()
                del self._answers[id]
                self._left.insert(0, id)
                self._write()

    def _accuracy(self) -> dict[str, Any] | None:
        """Return the share of right answers with its 95% interval (Wilson), by the rows that chance has drawn."""
        drawn = [row for row in self._answers.values() if row.get("why") == "random"]
        if not drawn:
            return None
        right = sum(_as_set(row["label"]) == _as_set(row.get("answer")) for row in drawn)
        count, z = len(drawn), 1.96
        middle = (right + z**2 / 2) / (count + z**2)
        half = z * sqrt(right * (count - right) / count + z**2 / 4) / (count + z**2)
        return {"value": right / count, "low": max(0.0, middle - half), "high": min(1.0, middle + half), "rows": count}

    def _write(self) -> None:
        write_whole(str(self.file), b"".join(orjson.dumps(row) + b"\n" for row in self._answers.values()))


def _as_set(labels: Any) -> set[str]:
    return set(labels) if isinstance(labels, list) else set() if labels is None else {labels}


def _read(file: Path, id: str) -> dict[str, dict[str, Any]]:
    if not file.exists():
        return {}
    try:
        rows = [orjson.loads(line) for line in file.read_bytes().splitlines()]
        return {str(row[id]): {**row, "label": row["label"]} for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is there, and does not hold the rows of a review") from error
