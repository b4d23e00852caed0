"""A server as a process: started, waited for, and killed with all its children."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from runners.flink.cluster import free_port

START_SECONDS = 60


class ServerProcess:
    """`with` starts the server and returns when it listens; its files are in a temporary folder.

    Subclasses say what to run. `address` is host:port.
    """

    name = "server"

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"classer-{self.name}-"))
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """What is run; files it needs can be written to `folder` first."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """More variables for it."""
        return {}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Starts it, again if it was killed.

        Raises:
            RuntimeError: it ended, or does not listen in time; with the end of its log.
        """
        command = self.command()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise RuntimeError(f"The {self.name} did not start:\n{self.log.read_text(errors='replace')[-3_000:]}")

    def kill(self) -> None:
        """Ends it as a power cut does."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    @property
    def log(self) -> Path:
        """What it has written."""
        return self.folder / "log"


def java() -> str:
    """The Java to run it with."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else "java"
