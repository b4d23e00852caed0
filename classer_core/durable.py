"""Files of this machine that survive a power cut: their content and their names are on the disk when we say so."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterable
from pathlib import Path

# Filesystems that can't sync a folder (some mounted object stores and network drives) say one of these.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EISDIR}


class DurableWriter(io.BufferedWriter):
    """A file, open for writing, whose content is on the disk when it is closed."""

    def __init__(self, path: Path, mode: str = "wb") -> None:
        super().__init__(io.FileIO(path, mode))

    def close(self) -> None:
        """Flush, sync and close; a file that can't be synced is closed, too, and the error is raised."""
        if self.closed:
            return
        try:
            self.flush()
            os.fsync(self.fileno())
        except BaseException:
            self.raw.close()  # without another try to flush
            raise
        super().close()

    def abandon(self) -> None:
        """Close the file without what is not written yet: nobody will read it."""
        self.raw.close()


def write_durably(path: Path, data: bytes, mode: str = "wb") -> None:
    """Write a whole file and sync it; `sync_folders` makes its name durable."""
    with DurableWriter(path, mode) as file:
        file.write(data)


def make_folder(folder: Path) -> None:
    """Make a folder with its parents; the names of new ones are on the disk."""
    new = []
    for path in (folder, *folder.parents):
        if path.exists():
            break
        new.append(path)
    folder.mkdir(parents=True, exist_ok=True)
    sync_folders(path.parent for path in reversed(new))


def sync_folders(folders: Iterable[Path]) -> None:
    """Put the names that folders hold on the disk."""
    for folder in dict.fromkeys(folders):
        with contextlib.ExitStack() as stack:
            try:
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                os.fsync(descriptor)
            except OSError as error:
                if error.errno not in _NO_SYNC:
                    raise
