"""Filesystems by URL (`gs://`, `s3://`, whatever fsspec knows), one of each kind for a process."""

from __future__ import annotations

import logging
import os
import re
from functools import lru_cache
from typing import Any

_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*):(?=//|[^/\\])")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
# What is read or written by one request, and how many requests are under way at once.
BLOCK_BYTES = 8 << 20
SMALL_BYTES = 1 << 20
AT_ONCE = 32
# A request that says nothing for so long is given up, and made again.
REQUEST_TIMEOUT_S = 60.0
_SAME = {"gcs": "gs", "s3a": "s3"}


def scheme_of(path: str) -> str:
    """The scheme of a URL, lower case; of a path, the empty string."""
    found = _SCHEME.match(path)
    return found.group(1).lower() if found else ""


def is_url(path: str) -> bool:
    """Whether a path lies on another filesystem than this machine's."""
    return _URL.match(path) is not None


def open_filesystem(url: str) -> tuple[Any, str]:
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

    return fsspec.filesystem(scheme, use_listings_cache=False, **_options(scheme))


def forget_filesystems() -> None:
    """Endpoints and credentials are looked up anew."""
    _filesystem.cache_clear()
    import fsspec

    for scheme in ("s3", "gs", "file"):
        fsspec.get_filesystem_class(scheme).clear_instance_cache()


def _options(scheme: str) -> dict[str, Any]:
    if scheme == "s3":
        config = {"max_pool_connections": AT_ONCE, "connect_timeout": REQUEST_TIMEOUT_S}
        return {"config_kwargs": {**config, "read_timeout": REQUEST_TIMEOUT_S}, "default_block_size": BLOCK_BYTES}
    if scheme == "gs":
        return {"block_size": BLOCK_BYTES, "requests_timeout": REQUEST_TIMEOUT_S}
    return {"auto_mkdir": True} if scheme == "file" else {}
