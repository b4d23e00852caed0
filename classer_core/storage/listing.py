"""List files, objects and folders."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from classer_core.filesystems import is_url, join, open_filesystem, scheme_of
from classer_core.patience import patient

# Names of the time of the last change in fsspec's filesystems.
_MODIFIED = ("LastModified", "mtime", "updated", "last_modified", "created")


class StoredFile(NamedTuple):
    """A file or an object.

    Attributes:
        path: path or URL.
        size: bytes.
        modified: when it was last written to, in seconds since 1970.
    """

    path: str
    size: int
    modified: float


@patient
def list_folder(folder: str) -> list[StoredFile]:
    """Return the files directly in a folder, sorted by path; an empty list if there is no such folder."""
    if not is_url(folder):
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return []
        return sorted(file for entry in entries if (file := _local_file(entry)) is not None)
    files, path = open_filesystem(folder)
    try:
        listed = files.ls(path, detail=True)
    except FileNotFoundError:
        return []
    return sorted(_object(folder, path, item) for item in listed if item["type"] == "file")


@patient
def list_folders(folder: str) -> list[str]:
    """Return the folders directly in a folder, sorted by path; an empty list if there is no such folder."""
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


def list_prefix(prefix: str) -> Iterator[StoredFile]:
    """Yield the objects whose URL starts with a prefix, at any depth.

    Raises:
        FileNotFoundError: the prefix does not contain a bucket, or there is no such bucket.
    """
    folder, _, name = prefix.rpartition("/")
    if not is_url(folder) or folder.endswith("/"):
        raise FileNotFoundError(f"{prefix} does not contain the name of a bucket: add it, as in gs://bucket/prefix")
    for path, item in _find(folder, name):
        # Some tools represent a folder by an empty object whose name ends with a slash.
        if item["type"] == "file" and not item["name"].endswith("/") and item["name"].startswith(f"{path}/{name}"):
            yield _object(folder, path, item)


@patient
def _find(folder: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    files, path = open_filesystem(folder)
    # fsspec's default `find` silently skips folders that it can't list; that of s3 and gs raises.
    options = {} if scheme_of(folder) in ("s3", "s3a", "gs", "gcs") else {"on_error": "raise"}
    try:
        return [(path, item) for item in files.find(path, detail=True, prefix=name, **options).values()]
    except FileNotFoundError:
        if options:  # a folder that does not exist
            return []
        raise


def _local_file(entry: os.DirEntry[str]) -> StoredFile | None:
    """Return a file of this machine; None if it is not a regular file, or has been removed since it was listed."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None
    return StoredFile(entry.path, status.st_size, status.st_mtime) if stat.S_ISREG(status.st_mode) else None


def _object(folder: str, path: str, item: dict[str, Any]) -> StoredFile:
    """Return an object of a folder.

    Args:
        folder: URL of the folder.
        path: of the folder on its filesystem.
        item: the object, as fsspec lists it.
    """
    time = next((item[key] for key in _MODIFIED if item.get(key) is not None), 0.0)
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    modified = time.timestamp() if isinstance(time, datetime) else float(time)
    url = folder.rstrip("/") + "/" + item["name"].removeprefix(path).lstrip("/")
    return StoredFile(url, int(item["size"] or 0), modified)
