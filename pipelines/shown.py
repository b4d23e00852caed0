"""The first rows that this process has sent to a topic: what a preview shows, for a topic is not read back."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

MAX_ROWS = 1_000

_lock = threading.Lock()
_wanted = 0
_rows: list[Mapping[str, Any]] = []


def begin(count: int) -> None:
    """Keep the next `count` rows, and forget those of the run before."""
    global _wanted
    with _lock:
        _wanted = min(count, MAX_ROWS)
        _rows.clear()


def keep(rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep rows that were sent, as long as some are wanted."""
    if len(_rows) < _wanted:
        with _lock:
            _rows.extend(islice(rows, _wanted - len(_rows)))


def first() -> list[Mapping[str, Any]]:
    """Return the rows that were kept."""
    with _lock:
        return list(_rows)
