"""Write files and objects."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import BinaryIO, cast

from classer_core.durable import DurableWriter, make_folder, sync_folders, write_durably
from classer_core.filesystems import BLOCK_BYTES, is_url, open_filesystem
from classer_core.patience import patient
from classer_core.storage.reading import read_start

# Errors of filesystems without hard links (mounted object stores, FAT) when a file is linked.
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


def open_writing(path: str) -> BinaryIO:
    """Open a new file or object for writing. Missing local folders are made; objects exist once they are closed.

    Closing a local file syncs its content to the disk; call `sync_names` or `move` to sync its name, too.
    """
    if not is_url(path):
        make_folder(Path(path).parent)
        return cast(BinaryIO, DurableWriter(Path(path)))
    files, path = open_filesystem(path)
    return cast(BinaryIO, files.open(path, "wb", block_size=BLOCK_BYTES))


def write_new(path: str, data: bytes) -> None:
    """Create a file or an object atomically, if it does not exist; exactly one of several concurrent writers succeeds.

    Raises:
        FileExistsError: it exists already.
    """
    try:
        _write_new(path, data)
    except FileExistsError:
        # An earlier attempt may have written it, and its response was lost. Writers are told apart by `data`.
        if not _has_content(path, data):
            raise


def _has_content(path: str, data: bytes) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return read_start(path, len(data) + 1) == data
    return False


@patient
def _write_new(path: str, data: bytes) -> None:
    if is_url(path):
        files, path = open_filesystem(path)
        files.pipe_file(path, data, mode="create")  # one conditional request
        return
    temporary = _temporary_path(path)
    try:
        write_durably(temporary, data)
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            write_durably(Path(path), data, "xb")
    finally:
        temporary.unlink(missing_ok=True)
    sync_folders([temporary.parent])


@patient
def write_whole(path: str, data: bytes) -> None:
    """Create or replace a file or an object atomically: readers see the old content or the new one."""
    if is_url(path):
        files, path = open_filesystem(path)
        files.pipe_file(path, data)
        return
    temporary = _temporary_path(path)
    try:
        write_durably(temporary, data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folders([temporary.parent])


def _temporary_path(path: str) -> Path:
    """Return an unused path in the same folder, which is made if it does not exist."""
    folder = Path(path).parent
    make_folder(folder)
    return folder / f".{secrets.token_hex(8)}"
