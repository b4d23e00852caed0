"""Filesystems by URL (`gs://`, `s3://`, or any other that fsspec supports), one of each kind per process."""

from __future__ import annotations

import logging
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*):(?=//|[^/\\])")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
# Bytes of one request, and how many requests are made at once.
BLOCK_BYTES = 8 << 20
SMALL_BYTES = 1 << 20
AT_ONCE = 32
# A request without a response for this long is given up and retried.
REQUEST_TIMEOUT_S = 60.0
_SAME = {"gcs": "gs", "s3a": "s3"}


def scheme_of(path: str) -> str:
    """Return the scheme of a URL in lower case; an empty string for a path.

    >>> scheme_of("S3://bucket/key"), scheme_of("/data/10:30.csv")
    ('s3', '')
    """
    match = _SCHEME.match(path)
    return match.group(1).lower() if match else ""


def is_url(path: str) -> bool:
    """Return whether a path is a URL, and not a path of this machine.

    >>> is_url("gs://bucket/key"), is_url("run:1.json")
    (True, False)
    """
    return _URL.match(path) is not None


def join(folder: str, *names: str) -> str:
    """Return the path or URL of names below a folder.

    >>> join("gs://bucket/out/", "part", "1.parquet"), join("out", "1.parquet")
    ('gs://bucket/out/part/1.parquet', 'out/1.parquet')
    """
    if is_url(folder):
        return "/".join([folder.rstrip("/"), *names])
    return str(Path(folder, *names))


def open_filesystem(url: str) -> tuple[Any, str]:
    """Return the filesystem of a URL, and the path on it."""
    scheme = scheme_of(url)
    files = _filesystem(_SAME.get(scheme, scheme), os.getpid())
    return files, str(files._strip_protocol(url))


@lru_cache
def _filesystem(scheme: str, process: int) -> Any:
    """Return one filesystem for all threads of a process, without a cache of listings.

    fsspec's own instances are per thread, and each would look for credentials.
    """
    # gcsfs asks Google's storage control API for the kind of each bucket: a further request, which takes a minute to
    # fail where only an emulator of storage is within reach.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs the errors that it raises
    import fsspec

    return fsspec.filesystem(scheme, use_listings_cache=False, **_options(scheme))


def forget_filesystems() -> None:
    """Forget all filesystems, so that endpoints and credentials are looked up again."""
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
