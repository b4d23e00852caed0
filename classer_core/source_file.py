"""SourceFile: a file read with retries, which distinguishes errors of the storage from damaged content.

Decoders do not: pyarrow raises OSError for both, and gzip passes on the errors of its file. Errors of the storage are
therefore recorded here and reach the caller through all decoders as `StorageError`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

from typing_extensions import override

from classer_core import patience
from classer_core.errors import StorageError
from classer_core.fetching.rules import redacted
from classer_core.storage import open_once

T = TypeVar("T")


class SourceFile(io.RawIOBase):
    """A file open for reading. After an error it is reopened, and reading goes on from the same byte.

    Args:
        name: the file's name in messages, without secrets.
        open_: opens the file; called again after each error.

    Attributes:
        failure: the error that is raised once all attempts have failed; None before.
    """

    def __init__(self, name: str, open_: Callable[[], BinaryIO]) -> None:
        super().__init__()
        self._name = name
        self._open = open_
        self._position = 0
        self.failure: StorageError | None = None
        self._file: BinaryIO | None = None
        self._persist(lambda file: None)

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._persist(lambda file: file.read(len(view)))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = self._persist(lambda file: file.seek(offset, whence))
        return self._position

    @override
    def tell(self) -> int:
        return self._position

    @override
    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()

    def _persist(self, action: Callable[[BinaryIO], T]) -> T:
        if self.failure is not None:
            raise self.failure
        attempt = 0
        while True:
            attempt += 1
            try:
                if self._file is None:
                    self._file = self._open()
                    if self._position:
                        self._file.seek(self._position)
                return action(self._file)
            except Exception as error:
                self._forget()
                if isinstance(error, MemoryError | FileNotFoundError):
                    raise
                if attempt >= patience.attempts_for(error):
                    self.failure = patience.failure_of(self._name, error)
                    raise self.failure from error
            patience.wait(attempt)

    def _forget(self) -> None:
        """Close the open file, ignoring errors: the file has failed already."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except Exception:
                return


def open_reading(path: str) -> SourceFile:
    """Open a file or an object for reading, without decompressing it.

    Args:
        path: a path or a URL.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: the storage fails, here or while the file is read.
    """
    return SourceFile(redacted(path), lambda: open_once(path))
