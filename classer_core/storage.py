"""Files and folders by path or URL (`gs://`, `s3://`, whatever fsspec knows), with few requests to object stores.

Credentials and endpoints are the libraries' own: Google's default credentials and `STORAGE_EMULATOR_HOST`, `AWS_*`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*):(?=//|[^/\\])")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
# What is read or written by one request, and how many requests are under way at once.
BLOCK_BYTES = 8 << 20
SMALL_BYTES = 1 << 20
AT_ONCE = 32
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"max_pool_connections": AT_ONCE}, "default_block_size": BLOCK_BYTES},
    "gs": {"block_size": BLOCK_BYTES},
    "file": {"auto_mkdir": True},
}
# What libraries call the time of the last change.
_WRITTEN = ("LastModified", "mtime", "updated", "last_modified", "created")
# Filesystems without hard links (mounted object stores, FAT) say one of these.
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
_SAME = {"gcs": "gs", "s3a": "s3"}


class Found(NamedTuple):
    """A file of a folder: its path or URL, its size in bytes, when it was last written to in seconds since 1970."""

    path: str
    size: int
    modified: float


def scheme_of(path: str) -> str:
    """The scheme of a URL, lower case; of a path, the empty string."""
    found = _SCHEME.match(path)
    return found.group(1).lower() if found else ""


def is_url(path: str) -> bool:
    """Whether a path lies on another filesystem than this machine's."""
    return _URL.match(path) is not None


def join(folder: str, *names: str) -> str:
    """A folder and names below it in, their path or URL out."""
    if is_url(folder):
        return "/".join([folder.rstrip("/"), *names])
    return str(Path(folder, *names))


def list_folder(folder: str) -> list[Found]:
    """Files that lie in a folder itself; of one that is not there, none."""
    if not is_url(folder):
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return []
        return sorted(found for entry in entries if (found := _found_here(entry)) is not None)
    files, path = _open_filesystem(folder)
    try:
        listed = files.ls(path, detail=True)
    except FileNotFoundError:
        return []
    return sorted(_found(folder, path, item) for item in listed if item["type"] == "file")


def list_folders(folder: str) -> list[str]:
    """Folders that lie in a folder itself; of one that is not there, none."""
    if not is_url(folder):
        with contextlib.suppress(FileNotFoundError):
            return sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())
        return []
    files, path = _open_filesystem(folder)
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
    files, path = _open_filesystem(folder)
    for item in files.find(path, detail=True, prefix=name).values():
        # Some tools make an empty object with a slash at its end for a folder.
        if item["type"] == "file" and not item["name"].endswith("/") and item["name"].startswith(f"{path}/{name}"):
            yield _found(folder, path, item)


def open_reading(path: str) -> BinaryIO:
    """A file, open for reading as it is; a small one is one request."""
    if not is_url(path):
        return Path(path).open("rb")
    first = read_start(path, SMALL_BYTES)
    if len(first) < SMALL_BYTES:
        return BytesIO(first)
    files, path = _open_filesystem(path)
    return cast(BinaryIO, files.open(path, "rb", block_size=BLOCK_BYTES, cache_type="readahead"))


def open_writing(path: str) -> BinaryIO:
    """A new file, open for writing; objects appear when they are closed. Local folders are made."""
    if not is_url(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return Path(path).open("wb")
    files, path = _open_filesystem(path)
    return cast(BinaryIO, files.open(path, "wb", block_size=BLOCK_BYTES))


def read_start(path: str, limit: int) -> bytes:
    """The first `limit` bytes of a file, by one request."""
    if not is_url(path):
        with Path(path).open("rb") as file:
            return file.read(limit)
    files, path = _open_filesystem(path)
    try:
        return bytes(files.cat_file(path, start=0, end=limit))
    except Exception as error:
        if status_of(error) == 416 or status_of(error.__cause__) == 416:  # an empty object has no first byte
            return b""
        raise


def write_new(path: str, data: bytes) -> None:
    """Makes a file that was not there, whole or not at all; of several writers at once, one succeeds.

    Raises:
        FileExistsError: it is there.
    """
    if is_url(path):
        files, path = _open_filesystem(path)
        files.pipe_file(path, data, mode="create")  # one request, on condition that it is new
        return
    made = _beside(path)
    made.write_bytes(data)
    try:
        os.link(made, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with Path(path).open("xb") as file:
            file.write(data)
    finally:
        made.unlink()


def write_whole(path: str, data: bytes) -> None:
    """Makes or replaces a file; readers see the old one or the new one, never a part."""
    if is_url(path):
        files, path = _open_filesystem(path)
        files.pipe_file(path, data)
        return
    made = _beside(path)
    made.write_bytes(data)
    made.replace(path)


def move(moves: Iterable[tuple[str, str]]) -> None:
    """Renames files of one filesystem, many at a time; a move that is done already is fine."""
    _at_once(_move, moves)


def remove(paths: Iterable[str]) -> None:
    """Deletes files, many at a time; what is gone already is fine."""
    _at_once(_remove, paths)


def remove_folder(folder: str) -> None:
    """Deletes a folder with all that is in it; gone already is fine."""
    if is_url(folder):
        remove(found.path for found in list_prefix(folder.rstrip("/") + "/"))
    else:
        shutil.rmtree(folder, ignore_errors=not Path(folder).exists())


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status that an error of a storage library speaks of, if it does."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        return cast("int | None", response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    code = getattr(error, "code", None) or getattr(error, "status", None) or getattr(response, "status_code", None)
    return int(code) if isinstance(code, int) or (isinstance(code, str) and code.isdigit()) else None


def _move(paths: tuple[str, str]) -> None:
    source, target = paths
    if not is_url(source):
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        try:
            Path(source).replace(target)
        except FileNotFoundError:
            if not Path(target).exists():
                raise
        return
    files, old = _open_filesystem(source)
    _, new = _open_filesystem(target)
    try:
        files.cp_file(old, new)
    except FileNotFoundError:
        if not files.isfile(new):
            raise
    _remove(source)


def _remove(path: str) -> None:
    if not is_url(path):
        Path(path).unlink(missing_ok=True)
        return
    files, path = _open_filesystem(path)
    with contextlib.suppress(FileNotFoundError):
        files.rm_file(path)


def _at_once(function: Callable[[Any], None], items: Iterable[Any]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in threads.map(function, items):
            pass


def _beside(path: str) -> Path:
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
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


def _open_filesystem(url: str) -> tuple[Any, str]:
    """The filesystem of a URL, and the path on it."""
    scheme = scheme_of(url)
    files = _filesystem(_SAME.get(scheme, scheme), os.getpid())
    return files, str(files._strip_protocol(url))


@lru_cache
def _filesystem(scheme: str, process: int) -> Any:
    """One for all threads of a process: fsspec would look for credentials in each of them. It remembers no listings."""
    # gcsfs would ask Google's storage control API which kind of bucket it is: one request more for every bucket, to a
    # host that an emulator is not, which takes a minute to fail.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it prints what it raises
    import fsspec

    return fsspec.filesystem(scheme, use_listings_cache=False, **_OPTIONS.get(scheme, {}))


def forget_filesystems() -> None:
    """Endpoints and credentials are looked up anew."""
    _filesystem.cache_clear()
    import fsspec

    for scheme in _OPTIONS:
        fsspec.get_filesystem_class(scheme).clear_instance_cache()
