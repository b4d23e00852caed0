"""A local filesystem that fails: the functions of Python that reach it, below one folder."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.faults import Chaos

# What a filesystem, on a network or not, says instead of a status of HTTP.
ERRORS = {
    "time-out": errno.ETIMEDOUT,
    "403": errno.EACCES,
    "expired token": errno.EKEYEXPIRED,
    "500": errno.EIO,
    "connection reset": errno.ECONNRESET,
}


def install(chaos: Chaos, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Put faults between the program and a folder."""

    def pass_or_fail(operation: str, path: Any) -> None:
        if not isinstance(path, int) and Path(os.fsdecode(path)).is_relative_to(folder):
            kind = chaos.next(operation)
            if kind is not None:
                raise OSError(ERRORS[kind], os.strerror(ERRORS[kind]), str(path))

    class FaultyFile(io.FileIO):
        def __init__(self, path: Any, mode: str = "r", *args: Any, **more: Any) -> None:
            pass_or_fail("open", path)
            super().__init__(path, mode, *args, **more)

        def read(self, size: int | None = -1) -> bytes:
            pass_or_fail("read", self.name)
            return super().read(size)

        def readinto(self, buffer: Any) -> int:
            pass_or_fail("read", self.name)
            return super().readinto(buffer)

        def write(self, data: Any) -> int:
            pass_or_fail("write", self.name)
            return super().write(data)

    def wrapped(module: Any, name: str, operation: str, which: int = 0) -> None:
        real = getattr(module, name)

        def function(*args: Any, **more: Any) -> Any:
            if args:
                pass_or_fail(operation, args[which])
            return real(*args, **more)

        patch.setattr(module, name, function)

    patch.setattr(io, "FileIO", FaultyFile)
    wrapped(os, "scandir", "list")
    wrapped(os, "replace", "rename", 1)
    wrapped(os, "link", "rename", 1)
    wrapped(os, "unlink", "delete")
