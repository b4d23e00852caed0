"""RedisCache: answers on a Redis server, or on one with the same protocol, shared by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from classer_core.fetching.rules import redacted

if TYPE_CHECKING:
    from redis import Redis

PREFIX = b"classer:"
# A slower cache costs more time than it saves; GuardedCache pauses it after a timeout.
TIMEOUT_S = 2.0


class RedisCache:
    """Stores entries on a Redis server. Their total size is limited by the server's `maxmemory`. Thread-safe.

    Args:
        url: `redis://[user:password@]host:port/db`, `rediss://...` or `unix://...`.
        ttl_s: seconds after which an entry expires.
    """

    def __init__(self, url: str, ttl_s: int) -> None:
        self._url = url
        self._ttl_s = ttl_s
        self._opened: Redis | None = None

    def __str__(self) -> str:
        return redacted(self._url)

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the entries that exist for these fingerprints, in one request."""
        fingerprints = list(keys)
        if not fingerprints:
            return {}
        entries = self._client.mget([PREFIX + key for key in fingerprints])
        return {key: entry for key, entry in zip(fingerprints, entries, strict=True) if isinstance(entry, bytes)}

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store entries in one request, replacing existing ones."""
        with self._client.pipeline(transaction=False) as pipeline:
            for key, entry in entries.items():
                pipeline.set(PREFIX + key, entry, ex=self._ttl_s)
            pipeline.execute()

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _client(self) -> Redis:
        if self._opened is None:
            from redis import Redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry

            # One retry, as the server may have closed an idle connection.
            retry = Retry(NoBackoff(), 1)
            self._opened = Redis.from_url(
                self._url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=retry
            )
        return self._opened
