"""Peak memory of this process and all its children."""

from __future__ import annotations

import contextlib
import threading
from typing import Self

import psutil

SAMPLE_S = 0.05


class PeakMemory:
    """`with PeakMemory() as peak: ...` leaves the peak in `peak.bytes`, sampled every 50 ms."""

    def __init__(self) -> None:
        self.bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(SAMPLE_S):
            total = 0
            for member in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += member.memory_info().rss
            self.bytes = max(self.bytes, total)
