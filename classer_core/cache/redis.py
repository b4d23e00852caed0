"""RedisCache: answers on a Redis server (or one that speaks its protocol), shared by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from classer_core.fetching.rules import redacted

if TYPE_CHECKING:
    from redis import Redis

PREFIX = b"classer:"
# A cache that answers later than this costs more than it saves; GuardedCache then leaves it alone for a while.
TIMEOUT_S = 2.0


class RedisCache:
    """Entries on a Redis server, each forgotten after `ttl_s`. Its size is the server's `maxmemory`.

    Args:
        url: `redis://[user:password@]host:port/db`, `rediss://...` or `unix://...`.
        ttl_s: how long an entry is kept after it was stored.
    """

    def __init__(self, url: str, ttl_s: int) -> None:
        self._url = url
        self._ttl_s = ttl_s
        self._opened: Redis | None = None

    def __str__(self) -> str:
        return redacted(self._url)

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """See `Cache.get`."""
        wanted = list(keys)
        if not wanted:
            return {}
        entries = self._client.mget([PREFIX + key for key in wanted])
        return {key: entry for key, entry in zip(wanted, entries, strict=True) if isinstance(entry, bytes)}

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """See `Cache.put`."""
        with self._client.pipeline(transaction=False) as pipeline:
            for key, entry in entries.items():
                pipeline.set(PREFIX + key, entry, ex=self._ttl_s)
            pipeline.execute()

    def close(self) -> None:
        """Closes the connections."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _client(self) -> Redis:
        if self._opened is None:
            from redis import Redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry

            # One more try, for connections that the server closed while they were idle.
            retry = Retry(NoBackoff(), 1)
            self._opened = Redis.from_url(
                self._url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=retry
            )
        return self._opened
