"""Files and folders by path or URL (`gs://`, `s3://`, whatever fsspec knows), with few requests to object stores.

Credentials and endpoints are the libraries' own: Google's default credentials and `STORAGE_EMULATOR_HOST`, `AWS_*`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from classer_core.durable import DurableWriter, make_folder, sync_folders, write_durably
from classer_core.filesystems import (
    AT_ONCE,
    BLOCK_BYTES,
    SMALL_BYTES,
    is_url,
    open_filesystem,
    scheme_of,
)
from classer_core.patience import patient, status_of

# What libraries call the time of the last change.
_WRITTEN = ("LastModified", "mtime", "updated", "last_modified", "created")
# Filesystems without hard links (mounted object stores, FAT) say one of these.
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


class Found(NamedTuple):
    """A file of a folder: its path or URL, its size in bytes, when it was last written to in seconds since 1970."""

    path: str
    size: int
    modified: float


def join(folder: str, *names: str) -> str:
    """Return the path or URL of names below a folder."""
    if is_url(folder):
        return "/".join([folder.rstrip("/"), *names])
    return str(Path(folder, *names))


@patient
def list_folder(folder: str) -> list[Found]:
    """Files that lie in a folder itself; of one that is not there, none."""
    if not is_url(folder):
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return []
        return sorted(found for entry in entries if (found := _found_here(entry)) is not None)
    files, path = open_filesystem(folder)
    try:
        listed = files.ls(path, detail=True)
    except FileNotFoundError:
        return []
    return sorted(_found(folder, path, item) for item in listed if item["type"] == "file")


@patient
def list_folders(folder: str) -> list[str]:
    """Folders that lie in a folder itself; of one that is not there, none."""
    if not is_url(folder):
        with contextlib.suppress(FileNotFoundError):
            return sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())
        return []
    files, path = open_filesystem(folder)
    with contextlib.suppress(FileNotFoundError):
        listed = files.ls(path, detail=True)
        names = (item["name"].rstrip("/").rpartition("/")[2] for item in listed if item["type"] == "directory")
        return sorted(join(folder, name) for name in names)
    return []


def list_prefix(prefix: str) -> Iterator[Found]:
    """Objects whose URL starts with a prefix, at any depth.

    Raises:
        FileNotFoundError: there is no such bucket.
    """
    folder, _, name = prefix.rpartition("/")
    if not is_url(folder) or folder.endswith("/"):
        raise FileNotFoundError(f"{prefix} names no bucket")
    for path, item in _find(folder, name):
        # Some tools make an empty object with a slash at its end for a folder.
        if item["type"] == "file" and not item["name"].endswith("/") and item["name"].startswith(f"{path}/{name}"):
            yield _found(folder, path, item)


@patient
def _find(folder: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    files, path = open_filesystem(folder)
    # fsspec's own `find` leaves out folders that it can't list, without a word; those of s3 and gs raise.
    more = {} if scheme_of(folder) in ("s3", "s3a", "gs", "gcs") else {"on_error": "raise"}
    try:
        return [(path, item) for item in files.find(path, detail=True, prefix=name, **more).values()]
    except FileNotFoundError:
        if more:  # a folder that nobody has made
            return []
        raise


def open_once(path: str) -> BinaryIO:
    """Open a file for reading as it is, without retries (`open_reading` has them); a small one is one request."""
    if not is_url(path):
        return cast(BinaryIO, io.FileIO(path))
    first = _read_start(path, SMALL_BYTES)
    if len(first) < SMALL_BYTES:
        return io.BytesIO(first)
    files, path = open_filesystem(path)
    return cast(BinaryIO, files.open(path, "rb", block_size=BLOCK_BYTES, cache_type="readahead"))


def open_writing(path: str) -> BinaryIO:
    """Open a new file for writing; objects appear when they are closed. Local folders are made.

    A local file is on the disk when it is closed, its name when `sync_names` or `move` has been called.
    """
    if not is_url(path):
        make_folder(Path(path).parent)
        return cast(BinaryIO, DurableWriter(Path(path)))
    files, path = open_filesystem(path)
    return cast(BinaryIO, files.open(path, "wb", block_size=BLOCK_BYTES))


@patient
def read_start(path: str, limit: int) -> bytes:
    """Return the first `limit` bytes of a file, by one request."""
    return _read_start(path, limit)


def _read_start(path: str, limit: int) -> bytes:
    if not is_url(path):
        with io.BufferedReader(io.FileIO(path)) as file:
            return file.read(limit)
    files, path = open_filesystem(path)
    try:
        return bytes(files.cat_file(path, start=0, end=limit))
    except Exception as error:
        if status_of(error) == 416 or status_of(error.__cause__) == 416:  # an empty object has no first byte
            return b""
        raise


def write_new(path: str, data: bytes) -> None:
    """Make a file that was not there, whole or not at all; of several writers at once, one succeeds.

    Raises:
        FileExistsError: it is there.
    """
    try:
        _write_new(path, data)
    except FileExistsError:
        # Ours, if it was made by an attempt whose answer was lost; `data` tells writers apart.
        if not _says(path, data):
            raise


def _says(path: str, data: bytes) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return read_start(path, len(data) + 1) == data
    return False


@patient
def _write_new(path: str, data: bytes) -> None:
    if is_url(path):
        files, path = open_filesystem(path)
        files.pipe_file(path, data, mode="create")  # one request, on condition that it is new
        return
    made = _beside(path)
    try:
        write_durably(made, data)
        try:
            os.link(made, path)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            write_durably(Path(path), data, "xb")
    finally:
        made.unlink(missing_ok=True)
    sync_folders([made.parent])


@patient
def write_whole(path: str, data: bytes) -> None:
    """Make or replace a file; readers see the old one or the new one, never a part."""
    if is_url(path):
        files, path = open_filesystem(path)
        files.pipe_file(path, data)
        return
    made = _beside(path)
    try:
        write_durably(made, data)
        made.replace(path)
    except BaseException:
        made.unlink(missing_ok=True)
        raise
    sync_folders([made.parent])


def move(moves: Iterable[tuple[str, str]]) -> None:
    """Rename files of one filesystem, many at a time; a move that is done already is fine."""
    moves = list(moves)
    _at_once(_move, moves)
    sync_names(target for _, target in moves)


def give_names(names: Iterable[tuple[str, str]]) -> None:
    """Let files be found under other names, too, many at a time; what is done already is fine.

    Object stores copy, local filesystems link; where there are no links, the first names are gone.
    """
    names = list(names)
    _at_once(_give_name, names)
    sync_names(target for _, target in names)


def sync_names(paths: Iterable[str]) -> None:
    """Put the names of local files on the disk. Objects are durable when they are there."""
    sync_folders(Path(path).parent for path in paths if not is_url(path))


def remove(paths: Iterable[str]) -> None:
    """Deletes files, many at a time; what is gone already is fine."""
    _at_once(_remove, paths)


def remove_folder(folder: str) -> None:
    """Deletes a folder with all that is in it; gone already is fine."""
    if is_url(folder):
        remove(found.path for found in list_prefix(folder.rstrip("/") + "/"))
    else:
        _remove_tree(folder)


@patient
def _remove_tree(folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


@patient
def _move(paths: tuple[str, str]) -> None:
    source, target = paths
    if not is_url(source):
        make_folder(Path(target).parent)
        try:
            Path(source).replace(target)
        except FileNotFoundError:
            if not Path(target).exists():
                raise
        return
    _copy(source, target)
    _remove(source)


@patient
def _give_name(paths: tuple[str, str]) -> None:
    source, target = paths
    if is_url(source):
        _copy(source, target)
        return
    make_folder(Path(target).parent)
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in NO_LINKS and not isinstance(error, FileNotFoundError):
            raise
        _move(paths)


def _copy(source: str, target: str) -> None:
    files, old = open_filesystem(source)
    _, new = open_filesystem(target)
    try:
        files.cp_file(old, new)
    except FileNotFoundError:
        if not files.isfile(new):
            raise


@patient
def _remove(path: str) -> None:
    if not is_url(path):
        Path(path).unlink(missing_ok=True)
        return
    files, path = open_filesystem(path)
    with contextlib.suppress(FileNotFoundError):
        files.rm_file(path)


def _at_once(function: Callable[[Any], None], items: Iterable[Any]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in threads.map(function, items):
            pass


def _beside(path: str) -> Path:
    folder = Path(path).parent
    make_folder(folder)
    return folder / f".{secrets.token_hex(8)}"


def _found_here(entry: os.DirEntry[str]) -> Found | None:
    """A file of this machine; None for what is none, or is gone by now."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None
    return Found(entry.path, status.st_size, status.st_mtime) if stat.S_ISREG(status.st_mode) else None


def _found(folder: str, path: str, item: dict[str, Any]) -> Found:
    """A file of a folder, which has this path on its filesystem: its URL begins as the folder's does."""
    written = next((item[key] for key in _WRITTEN if item.get(key) is not None), 0.0)
    if isinstance(written, str):
        written = datetime.fromisoformat(written)
    modified = written.timestamp() if isinstance(written, datetime) else float(written)
    url = folder.rstrip("/") + "/" + item["name"].removeprefix(path).lstrip("/")
    return Found(url, int(item["size"] or 0), modified)
