"""Caches: the answers found before, by fingerprint.

    sqlite:///answers.sqlite    a file, shared by the processes of one machine
    redis://host:6379/0         a server (also rediss://, unix://), shared by a cluster
    none                        nothing outlives the process
    env:NAME                    the URL that this variable of the environment holds

`?ttl_days=30` sets after how many days an entry is forgotten; `&max_mb=1024`, of sqlite, how large the file may be (of
redis that is the server's `maxmemory`). Entries hold labels and numbers, never a record's content.
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
from classer_core.fetching.rules import redacted

NO_CACHE = "none"
DEFAULT_TTL_DAYS = 30
DEFAULT_MAX_MB = 1024
FORMS = "sqlite:///path, redis://host:port/db, or none"


class Cache(Protocol):
    """Keeps bytes under fingerprints. Safe to be used by several threads.

    Whatever its methods raise costs time and no answer: `GuardedCache` stands in front of them.
    """

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The entries there are, in one round trip."""

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keeps entries, in one round trip; newer ones win."""

    def close(self) -> None:
        """Lets go of files and connections."""


@dataclass(frozen=True)
class CacheUrl:
    """A cache's URL, taken apart. `address` is what its own library is given."""

    scheme: str
    address: str
    ttl_s: int
    max_bytes: int

    def __repr__(self) -> str:
        return f"CacheUrl({redacted(self.address)!r})"


def parse_cache_url(url: str) -> CacheUrl | None:
    """Return the parts of a `cache:` URL; None for `none`. `env:NAME` is the URL that the variable holds.

    Raises:
        JobError: there is no such variable.
        ValueError: it is none of the forms that are known. The message does not repeat the URL, which may hold a
            password.
    """
    url = from_environment(url, "cache")
    if url == NO_CACHE:
        return None
    parts = urlsplit(url)
    settings = dict(parse_qsl(parts.query, keep_blank_values=True))
    ttl_days = _positive(settings.pop("ttl_days", DEFAULT_TTL_DAYS), "ttl_days")
    max_mb = _positive(settings.pop("max_mb", DEFAULT_MAX_MB), "max_mb")
    if settings:
        raise ValueError(f"{', '.join(sorted(settings))}: unknown setting of a cache; known are ttl_days and max_mb")
    if parts.scheme == "sqlite":
        # The field's convention: three slashes start a relative path, four an absolute one.
        if parts.netloc or not parts.path.strip("/"):
            raise ValueError("sqlite: needs a path: sqlite:///relative, or sqlite:////absolute")
        address = str(Path(parts.path[1:]).expanduser())
    elif parts.scheme in ("redis", "rediss", "unix"):
        if not (parts.path if parts.scheme == "unix" else parts.hostname):
            raise ValueError(f"{parts.scheme}: needs a host, as in redis://localhost:6379/0")
        address = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    else:
        raise ValueError(f"a cache is {FORMS}")
    return CacheUrl(parts.scheme, address, round(ttl_days * 86_400), round(max_mb * (1 << 20)))


def default_cache_url() -> str:
    """The cache of this machine's user: a file in the folder that the system has for such things.

    The environment variable `CLASSER_CACHE_DIR` names another folder.
    """
    folder = os.environ.get("CLASSER_CACHE_DIR") or platformdirs.user_cache_dir("classer")
    return f"sqlite:///{Path(folder).expanduser().absolute()}/answers.sqlite"


def open_cache(url: str) -> Cache | None:
    """Return the cache of a `cache:` URL, not connected yet; None for `none`.

    Raises:
        JobError: the URL is in a variable that is not there.
        ValueError: it is none of the forms that are known.
    """
    parsed = parse_cache_url(url)
    if parsed is None:
        return None
    if parsed.scheme == "sqlite":
        from classer_core.cache.sqlite import SqliteCache

        return SqliteCache(Path(parsed.address), parsed.ttl_s, parsed.max_bytes)
    from classer_core.cache.redis import RedisCache

    return RedisCache(parsed.address, parsed.ttl_s)


def _positive(value: str | int, name: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise ValueError(f"{name} is a number above 0")
    return number
