"""Readers of streams on the queue in memory, and what tests ask of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from classer_core.cached import CachedEngine
from classer_core.engine import Engine
from pipelines.chunks import Chunk
from pipelines.graph import stream_of
from pipelines.job import parse_job
from pipelines.streaming.source import QueueReader, QueueSource
from tests.fakes import OPT_IN_FIELDS, FakeModel
from tests.memory_queue import MemoryQueueSettings
from tests.pipelines.streaming.test_parsing import QUEUE

WAIT_S = 20.0


def load() -> CachedEngine:
    return CachedEngine(Engine(FakeModel()))


class Readers:
    """Makes readers, and closes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.made: list[QueueReader] = []

    def __call__(
        self, bundle_s: float = 60.0, load: Callable[[], CachedEngine] = load, settings: Any = None, **more: Any
    ) -> QueueReader:
        own = {"labels": ["billing", "sales"], "record_fields": OPT_IN_FIELDS}
        document = {"source": {**QUEUE, **more.pop("source", {})}, **own, **more}
        job = parse_job({**document, "output": {"path": "out"}}, self._folder / "job.yaml")
        stream = stream_of(job, job.source.find_columns(job.selection), str(self._folder), load, bundle_s)
        reader = QueueSource(stream, settings or MemoryQueueSettings("test")).create_reader(None, None)
        assert isinstance(reader, QueueReader)
        self.made.append(reader)
        return reader


def until(condition: Callable[[], Any], wait_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.01)


def take(reader: QueueReader, records: int, start: bool = True) -> list[Chunk]:
    """Chunks, until there are so many records or failures."""
    chunks: list[Chunk] = []
    deadline = time.monotonic() + WAIT_S
    while sum(len(chunk) + len(chunk.failures) for chunk in chunks) < records:
        assert time.monotonic() < deadline, chunks
        if reader.start() if start else reader.advance():
            chunks.append(reader.get_current())
        start = False
    return chunks


def ids(chunks: list[Chunk]) -> list[str]:
    return [record.id for chunk in chunks for record in chunk.records]
