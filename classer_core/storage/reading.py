"""Open files and objects for reading, and read their start."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from classer_core.filesystems import BLOCK_BYTES, SMALL_BYTES, is_url, open_filesystem
from classer_core.patience import patient, status_of


def open_once(path: str) -> BinaryIO:
    """Open a file or an object for reading, without retries; `source_file.open_reading` retries.

    Objects of less than `SMALL_BYTES` are read with one request.
    """
    if not is_url(path):
        return cast(BinaryIO, io.FileIO(path))
    start = _read_start(path, SMALL_BYTES)
    if len(start) < SMALL_BYTES:
        return io.BytesIO(start)
    files, path = open_filesystem(path)
    return cast(BinaryIO, files.open(path, "rb", block_size=BLOCK_BYTES, cache_type="readahead"))


@patient
def read_start(path: str, limit: int) -> bytes:
    """Return the first `limit` bytes of a file or an object, with one request."""
    return _read_start(path, limit)


def _read_start(path: str, limit: int) -> bytes:
    if not is_url(path):
        with io.BufferedReader(io.FileIO(path)) as file:
            return file.read(limit)
    files, path = open_filesystem(path)
    try:
        return bytes(files.cat_file(path, start=0, end=limit))
    except Exception as error:
        if status_of(error) == 416 or status_of(error.__cause__) == 416:  # an empty object has no such range
            return b""
        raise
