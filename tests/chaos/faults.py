"""Faults: which call of which operation fails, how, and for how long."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

OPERATIONS = ("open", "read", "list", "write", "rename", "delete")
KINDS = ("time-out", "403", "expired token", "500", "connection reset")
POSITIONS = ("first", "middle", "last")


@dataclass(frozen=True)
class Fault:
    """The operation fails at its `call` (from 1), and `stays` for all later ones, or is over with it."""

    operation: str
    kind: str
    call: int
    stays: bool


class Chaos:
    """Counts calls, and says which of them fail. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.injected = 0
        self._fault: Fault | None = None

    def begin(self, fault: Fault | None = None) -> None:
        """Count from the start, with this fault ahead."""
        with self._lock:
            self.calls.clear()
            self.injected = 0
            self._fault = fault

    def end(self) -> None:
        """Fail no more."""
        with self._lock:
            self._fault = None

    def next(self, operation: str) -> str | None:
        """Return how this call fails; None if it does not."""
        with self._lock:
            self.calls[operation] += 1
            fault = self._fault
            if fault is None or fault.operation != operation:
                return None
            number = self.calls[operation]
            if number == fault.call or (fault.stays and number > fault.call):
                self.injected += 1
                return fault.kind
            return None


def position(calls: int, name: str) -> int:
    """Return the number of the first, middle or last of some calls."""
    return {"first": 1, "middle": max(1, (calls + 1) // 2), "last": calls}[name]
