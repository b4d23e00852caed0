"""Tests need no network and no place of the user's: models are those on this machine, caches begin empty."""

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the default cache of one test is."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CLASSER_CACHE_DIR", str(folder))
    return folder
