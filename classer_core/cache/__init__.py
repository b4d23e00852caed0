"""Caches of answers by fingerprint, and their URLs.

    sqlite:///answers.sqlite    a file, shared by the processes of one machine
    redis://host:6379/0         a server (also rediss://, unix://), shared by a cluster
    none                        answers are kept in the memory of the process only
    env:NAME                    the URL in this environment variable

`?ttl_days=30` is the number of days after which entries expire, `&max_mb=1024` the largest size of a sqlite file (the
size of redis is the server's `maxmemory`). Entries contain labels and numbers, but no content of records.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import platformdirs

from classer_core.environment import from_environment
from classer_core.errors import JobError
from classer_core.extras import missing_extra
from classer_core.fetching.rules import redacted

NO_CACHE = "none"
DEFAULT_TTL_DAYS = 30
DEFAULT_MAX_MB = 1024
FORMS = "sqlite:///path, redis://host:port/db, or none"


class Cache(Protocol):
    """Stores entries by fingerprint. Thread-safe.

    Methods may raise any exception: `GuardedCache` catches them, and records are then classified without the cache.
    """

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the entries that exist for these fingerprints, in one round trip."""

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store entries in one round trip, replacing existing ones."""

    def close(self) -> None:
        """Close files and connections."""


@dataclass(frozen=True)
class CacheUrl:
    """The parts of a cache's URL.

    Attributes:
        scheme: sqlite, redis, rediss or unix.
        address: path of the file, or URL for the redis library.
        ttl_s: seconds after which entries expire.
        max_bytes: largest size of a sqlite file.
    """

    scheme: str
    address: str
    ttl_s: int
    max_bytes: int

    def __repr__(self) -> str:
        return f"CacheUrl({redacted(self.address)!r})"


def parse_cache_url(url: str) -> CacheUrl | None:
    """Return the parts of a `cache:` URL; None for `none`. `env:NAME` is replaced by the variable's value.

    Raises:
        JobError: the variable is not set.
        ValueError: the URL is not that of a cache. The message does not repeat the URL, which may contain a password.

    >>> parse_cache_url("sqlite:///answers.sqlite?ttl_days=7")
    CacheUrl("'answers.sqlite'")
    """
    url = from_environment(url, "cache")
    if url == NO_CACHE:
        return None
    parts = urlsplit(url)
    settings = dict(parse_qsl(parts.query, keep_blank_values=True))
    ttl_days = _positive(settings.pop("ttl_days", DEFAULT_TTL_DAYS), "ttl_days")
    max_mb = _positive(settings.pop("max_mb", DEFAULT_MAX_MB), "max_mb")
    if settings:
        raise ValueError(f"{', '.join(sorted(settings))}: unknown setting of a cache; settings are ttl_days and max_mb")
    if parts.scheme == "sqlite":
        # As in SQLAlchemy: a relative path follows three slashes, an absolute one four.
        if parts.netloc or not parts.path.strip("/"):
            raise ValueError("sqlite: needs a path, as in sqlite:///relative or sqlite:////absolute")
        address = str(Path(parts.path[1:]).expanduser())
    elif parts.scheme in ("redis", "rediss", "unix"):
        if not (parts.path if parts.scheme == "unix" else parts.hostname):
            raise ValueError(f"{parts.scheme}: needs a host, as in redis://localhost:6379/0")
        address = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    else:
        raise ValueError(f"a cache must be {FORMS}")
    return CacheUrl(parts.scheme, address, round(ttl_days * 86_400), round(max_mb * (1 << 20)))


def default_cache_url() -> str:
    """Return the URL of the default cache: a file in the user's cache folder, or in the folder `CLASSER_CACHE_DIR`."""
    folder = os.environ.get("CLASSER_CACHE_DIR") or platformdirs.user_cache_dir("classer")
    return f"sqlite:///{Path(folder).expanduser().absolute()}/answers.sqlite"


def open_cache(url: str) -> Cache | None:
    """Return the cache of a `cache:` URL, which connects when first used; None for `none`.

    Raises:
        JobError: the URL is in an environment variable that is not set, or the redis library is not installed.
        ValueError: the URL is not that of a cache.
    """
    parsed = parse_cache_url(url)
    if parsed is None:
        return None
    if parsed.scheme == "sqlite":
        from classer_core.cache.sqlite import SqliteCache

        return SqliteCache(Path(parsed.address), parsed.ttl_s, parsed.max_bytes)
    if problem := missing_extra("cache", parsed.scheme, "redis"):
        raise JobError([problem])
    from classer_core.cache.redis import RedisCache

    return RedisCache(parsed.address, parsed.ttl_s)


def _positive(value: str | int, name: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise ValueError(f"{name} must be a number above 0 and below 1,000,000")
    return number
