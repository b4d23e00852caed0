"""Server: uvicorn with this server's signals: SIGTERM drains, SIGHUP reads the keys again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Generator

import uvicorn

from classer_core.cached import CachedEngine
from classer_core.errors import JobError, ModelLoadError
from runners.serve.app import build_app
from runners.serve.jobs.manager import JobManager
from runners.serve.keys import KeyRing
from runners.serve.protocol import GuardedProtocol
from runners.serve.service import Service
from runners.serve.settings import Settings

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 30


class Server(uvicorn.Server):
    """A server of the API.

    Args:
        settings: completed.
        load: loads the engine; by default the one that the settings name.

    Raises:
        JobError: the key file can't be read, or is wrong.
    """

    def __init__(self, settings: Settings, load: Callable[[], CachedEngine] | None = None) -> None:
        self._settings = settings
        self.service = Service(settings, KeyRing(settings.keys), JobManager(settings), load)
        self.error: ModelLoadError | None = None
        config = uvicorn.Config(
            build_app(self.service),
            host=settings.host,
            port=settings.port,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            backlog=2048,
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
        )
        super().__init__(config)

    @property
    def port(self) -> int:
        """The port it listens on; another one than in the settings if that is 0."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    async def serve(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Serve until a signal comes, and answer what was accepted before that."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # only the main thread gets signals
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.drain)
            loop.add_signal_handler(signal.SIGHUP, self._reload_keys)
        starting = asyncio.create_task(self._start_service())
        await super().serve()
        if not starting.done():
            starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        await self.service.stop()

    def drain(self) -> None:
        """Say that no more requests should come, take those that do for a while, answer all, and end."""
        if self.service.is_draining:
            self.should_exit = True
            return
        self.service.drain()
        asyncio.get_running_loop().call_later(self._settings.drain_s, self._exit)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to `serve`: uvicorn would end the process by the signal, and not with exit code 0."""
        yield

    async def _start_service(self) -> None:
        try:
            await self.service.start()
        except ModelLoadError as error:
            self.error = error
            self._exit()
        except Exception:
            self._exit()
            raise

    def _exit(self) -> None:
        self.should_exit = True

    def _reload_keys(self) -> None:
        try:
            log.info("%d keys read", self.service.keys.reload())
        except JobError as error:
            log.error("the keys stay as they were: %s", error)
