"""Objects that all steps of a process share, each for as long as any step uses it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class Shared(Generic[Kept]):
    """One object for each key. Safe to be used by several threads: who asks while one is made waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: weakref.WeakValueDictionary[Hashable, Kept] = weakref.WeakValueDictionary()

    def get(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """The object of this key, made if nobody has it."""
        with self._lock:
            found = self._objects.get(key)
            if found is None:
                found = self._objects[key] = make()
            return found

    def find(self, key: Hashable) -> Kept | None:
        """The object of this key, if anybody has it."""
        with self._lock:
            return self._objects.get(key)
