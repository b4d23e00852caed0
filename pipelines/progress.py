"""How many records this process has finished: what a progress bar beside a local run looks at."""

from __future__ import annotations

import threading

_lock = threading.Lock()
_done = 0


def advance(records: int) -> None:
    """Counts records that ended as a result or a failure."""
    global _done
    with _lock:
        _done += records


def done() -> int:
    """Records finished by this process so far."""
    return _done
