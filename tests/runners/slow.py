"""Models for jobs that are disturbed half-way."""

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from classer_core import Classifier, Engine, RecordError, Scores
from tests.fakes import FakeModel

CHUNK_SECONDS = 2.0


class SlowModel(FakeModel):
    """Takes its time, so that a job can be caught half-way."""

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        time.sleep(CHUNK_SECONDS)
        return super().score(texts, classifiers)


class NamedModel(SlowModel):
    """Tells by its id which process it answers in."""

    def __init__(self) -> None:
        self.id = f"fake-{os.getpid()}"


class GreedyModel(SlowModel):
    """Runs out of memory, for real, once in the life of a folder."""

    def __init__(self, folder: str) -> None:
        self._tried = Path(folder) / "out-of-memory"

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        scores = super().score(texts, classifiers)
        if not self._tried.exists():
            self._tried.touch()
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (256 << 20), hard))
            try:
                np.ones(1 << 30)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, hard))
        return scores


def load() -> Engine:
    return Engine(SlowModel())


def load_named() -> Engine:
    return Engine(NamedModel())


def load_greedy(folder: str) -> Engine:
    return Engine(GreedyModel(folder))
