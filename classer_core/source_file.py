"""SourceFile: a file that is read with retries, and that tells trouble of its storage apart from damage of its content.

Libraries mix the two up: pyarrow raises OSError for both, and gzip passes on whatever its file raises. So the errors
of the storage are recorded here, where they arise, and reach the reader as `StorageError` through all decoders.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

from classer_core import patience
from classer_core.errors import StorageError
from classer_core.fetching.rules import redacted
from classer_core.storage import open_once

T = TypeVar("T")


class SourceFile(io.RawIOBase):
    """A file of any storage, open for reading. After an error it is opened again and read on from the same byte.

    Args:
        name: how messages name it, without secrets.
        open_: opens it; called again after each error.

    Attributes:
        failure: the error that ended the reading, once all attempts have failed.
    """

    def __init__(self, name: str, open_: Callable[[], BinaryIO]) -> None:
        super().__init__()
        self._name = name
        self._open = open_
        self._position = 0
        self.failure: StorageError | None = None
        self._file: BinaryIO | None = None
        self._persist(lambda file: None)

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, or as much of it as the storage gives at once."""
        view = memoryview(buffer).cast("B")
        data = self._persist(lambda file: file.read(len(view)))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte."""
        self._position = self._persist(lambda file: file.seek(offset, whence))
        return self._position

    def tell(self) -> int:
        """Return where it is."""
        return self._position

    def close(self) -> None:
        """Close what is open."""
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
        """Give up the open file; what closing it says tells nothing new."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except Exception:
                return


def open_reading(path: str) -> SourceFile:
    """Open a file or an object for reading as it is.

    Raises:
        StorageError: the storage can't give it, here or while it is read.
    """
    return SourceFile(redacted(path), lambda: open_once(path))
