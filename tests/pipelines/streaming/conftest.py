"""A queue in memory, and readers of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.memory_queue import Server
from tests.pipelines.streaming.reading import Readers


@pytest.fixture
def server() -> Server:
    return Server("test")


@pytest.fixture
def readers(tmp_path: Path, server: Server) -> Iterator[Readers]:
    made = Readers(tmp_path)
    yield made
    for reader in made.made:
        reader.close()
        reader._poller.written(1_000)  # else it waits for that
