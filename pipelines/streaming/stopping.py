"""The end of this process's streams: readers take nothing more, finish what they have begun, give back the rest."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_stop, _end = threading.Event(), threading.Event()


def is_stopping() -> bool:
    """Whether readers shall take nothing more."""
    return _stop.is_set()


def stop() -> None:
    """Ends all streams of this process."""
    _stop.set()


def note_end() -> None:
    """A reader has nothing more to read, and is closed."""
    _end.set()


def has_end() -> bool:
    """Whether a reader has come to its end."""
    return _end.is_set()


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM or SIGINT ends the streams that run inside; a second one ends the process as ever."""
    _stop.clear()
    _end.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop()
        for name, handler in before.items():
            signal.signal(name, handler)

    for name in before:
        signal.signal(name, on_signal)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
        _stop.clear()
