"""Write local files so that content and names survive a power cut."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterable
from pathlib import Path

# Errors of filesystems that can't sync a folder: some mounted object stores and network drives.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EISDIR}


class DurableWriter(io.BufferedWriter):
    """A file open for writing; its content is synced to the disk when it is closed."""

    def __init__(self, path: Path, mode: str = "wb") -> None:
        super().__init__(io.FileIO(path, mode))

    def close(self) -> None:
        """Flush, sync and close the file; it is closed even if syncing raises."""
        if self.closed:
            return
        try:
            self.flush()
            os.fsync(self.fileno())
        except BaseException:
            self.raw.close()  # does not flush again
            raise
        super().close()

    def abandon(self) -> None:
        """Close the file without writing what is buffered, for a file that will not be read."""
        self.raw.close()


def write_durably(path: Path, data: bytes, mode: str = "wb") -> None:
    """Write a file and sync its content; call `sync_folders` to make its name durable, too."""
    with DurableWriter(path, mode) as file:
        file.write(data)


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, and sync their names to the disk."""
    new = []
    for path in (folder, *folder.parents):
        if path.exists():
            break
        new.append(path)
    folder.mkdir(parents=True, exist_ok=True)
    sync_folders(path.parent for path in reversed(new))


def sync_folders(folders: Iterable[Path]) -> None:
    """Sync the names of the files in these folders to the disk; skip filesystems that can't."""
    for folder in dict.fromkeys(folders):
        with contextlib.ExitStack() as stack:
            try:
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                os.fsync(descriptor)
            except OSError as error:
                if error.errno not in _NO_SYNC:
                    raise
