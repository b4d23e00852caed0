"""A real Redis server for tests and benchmarks, with nothing kept."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from tests.servers.process import ServerProcess


class RedisServer(ServerProcess):
    """`with RedisServer() as server:` runs `redis-server`; `server.url` names it, password and all."""

    name = "redis"
    password = "s3cret-p4ssword"

    @property
    def url(self) -> str:
        """As a job names it."""
        return f"redis://:{self.password}@{self.address}/0"

    def command(self) -> Sequence[str]:
        """One process.

        Raises:
            RuntimeError: Redis is not installed.
        """
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("redis-server is not installed: apt-get install redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", self.password, "--save", ""]
        return [program, *options, "--dir", str(self.folder)]
