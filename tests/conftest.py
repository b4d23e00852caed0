"""Tests need no network and no place of the user's: models are those on this machine, caches begin empty."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.kafka import KafkaBroker
from tests.servers.pubsub import PubSubEmulator

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the default cache of one test is."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CLASSER_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """A Kafka broker for the whole run: tests make topics of their own."""
    with KafkaBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def pubsub() -> Iterator[PubSubEmulator]:
    """A Pub/Sub emulator for the whole run, named in the environment."""
    with PubSubEmulator() as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", emulator.address)
        yield emulator
