"""Text in pictures: RapidOCR, whose models come in its package."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import numpy as np

from classer_core.contents import Pixels
from classer_core.hardware import available_cores, return_freed_memory

# Lines that it is less sure of are more often patterns than letters.
MIN_LINE_CONFIDENCE = 0.6
# Smaller pictures hold no line that can be read.
MIN_SIDE_PX = 16


class OcrReader:
    """Reads pictures, one per core at a time.

    Args:
        threads: CPU threads it may use (default: one a core).
    """

    def __init__(self, threads: int | None = None) -> None:
        count = threads or available_cores()
        # An engine is not safe to share, and two threads each are slower than two engines with one.
        self._engines: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(count):
            self._engines.put(None)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="ocr")
        self.id = f"rapidocr-{version('rapidocr')}"

    def read(self, pictures: Sequence[Pixels]) -> list[str]:
        """Pictures in, the lines seen in each out, top to bottom."""
        texts = list(self._threads.map(self._read, pictures))
        # Each picture has its own size, and each size its own large arrays: without this a worker grows by half.
        return_freed_memory()
        return texts

    def _read(self, pixels: Pixels) -> str:
        if min(pixels.shape[:2]) < MIN_SIDE_PX:
            return ""
        engine = self._engines.get()
        try:
            engine = engine or _engine()
            found = engine(np.ascontiguousarray(pixels[:, :, ::-1]))  # it expects BGR
        finally:
            self._engines.put(engine)
        if found.txts is None:
            return ""
        return "\n".join(
            text for text, sure in zip(found.txts, found.scores, strict=True) if sure >= MIN_LINE_CONFIDENCE
        )


def _engine() -> Any:
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Global.use_cls": False,
            "Global.log_level": "critical",
        }
    )
