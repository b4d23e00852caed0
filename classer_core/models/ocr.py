"""OcrReader: the text in pictures, by RapidOCR, whose models are part of its package."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from classer_core.contents import Pixels
from classer_core.extras import require_for_model
from classer_core.hardware import available_cores, return_freed_memory

# Lines of lower confidence are more often patterns than letters.
MIN_LINE_CONFIDENCE = 0.6
# Smaller pictures contain no legible line.
MIN_SIDE_PX = 16
# A dense page is read as accurately at this size as at twice its area, in two thirds of the time.
LONG_SIDE_PX = 1_024
# Pictures are enlarged by up to this factor, up to `LONG_SIDE_PX`, so that small letters are found. RapidOCR's default,
# a short side of 736 pixels, took three seconds and 700 MB for 20 x 100 pixels, and gigabytes for a narrow strip.
MAX_ENLARGING = 2.0


class OcrReader:
    """Reads pictures, one per thread at a time.

    Args:
        threads: CPU threads it may use (default: one per core).
    """

    def __init__(self, threads: int | None = None) -> None:
        count = threads or available_cores()
        # Engines are not thread-safe, and one engine with two threads is slower than two engines with one.
        self._engines: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(count):
            self._engines.put(None)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="ocr")

    @cached_property
    def id(self) -> str:
        """Return the name and version of the library.

        Raises:
            ModelLoadError: it is not installed. Jobs on texts alone do not ask.
        """
        require_for_model("visual_model", "embedded", "vision")
        return f"rapidocr-{version('rapidocr')}"

    def read(self, pictures: Sequence[Pixels]) -> list[str]:
        """Return the lines of text in each picture, from top to bottom."""
        texts = list(self._threads.map(self._read, pictures))
        # Each picture size needs large arrays of its own; without this the worker's memory grows by half.
        return_freed_memory()
        return texts

    def _read(self, pixels: Pixels) -> str:
        if min(pixels.shape[:2]) < MIN_SIDE_PX:
            return ""
        engine = self._engines.get()
        try:
            engine = engine or _engine()
            lines = engine(np.ascontiguousarray(_enlarged(pixels)[:, :, ::-1]))  # it expects BGR
        finally:
            self._engines.put(engine)
        if lines.txts is None:
            return ""
        return "\n".join(
            text for text, confidence in zip(lines.txts, lines.scores, strict=True) if confidence >= MIN_LINE_CONFIDENCE
        )


def _enlarged(pixels: Pixels) -> Pixels:
    from PIL import Image

    height, width = pixels.shape[:2]
    scale = min(MAX_ENLARGING, LONG_SIDE_PX / max(height, width))
    if scale <= 1:
        return pixels
    size = (round(width * scale), round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _engine() -> Any:
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Global.use_cls": False,
            "Det.limit_type": "max",
            "Det.limit_side_len": LONG_SIDE_PX,
            # With one thread, batches are not faster, and are padded to the widest line: twice the memory.
            "Rec.rec_batch_num": 1,
            "Global.log_level": "critical",
        }
    )
