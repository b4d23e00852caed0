"""A server of the API in this process, on a free port, with a fake model unless a test wants the real one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx

from classer_core.cached import CachedEngine
from classer_core.engine import Engine
from runners.serve.server import Server
from runners.serve.settings import Settings
from tests.fakes import FakeModel

START_S = 120.0


def load_fake() -> CachedEngine:
    """An engine that counts how often a text names each label."""
    return CachedEngine(Engine(FakeModel()))


class RunningServer:
    """`with` starts the server and returns when it is ready.

    Args:
        folder: of its jobs and saved classifiers.
        load: loads the engine; None takes the one that the settings name.
        settings: fields of `Settings`.
    """

    def __init__(self, folder: Path, load: Callable[[], CachedEngine] | None = load_fake, **settings: Any) -> None:
        fields = {"cache": "none", "jobs": folder / "jobs", "classifiers": str(folder / "classifiers"), "drain_s": 0.1}
        self.server = Server(Settings(port=0, **(fields | settings)).completed(), load)
        self._thread = threading.Thread(target=self.server.run, name="server")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        end = time.monotonic() + START_S
        while not (self.server.started and self.server.service.is_ready):
            if time.monotonic() > end or not self._thread.is_alive():
                raise RuntimeError("The server did not start")
            time.sleep(0.01)
        self.client = httpx.Client(base_url=self.url, timeout=30)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.stop()

    def stop(self) -> None:
        """End it as a signal does, which only the main thread of a process gets."""
        self.server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """POST a document as JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.client.post(path, content=content, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET a path."""
        return self.client.get(path, **options)
