"""Limits of each key: requests and tokens per minute, and requests at the same time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runners.serve.errors import rate_limited
from runners.serve.keys import Key, KeyLimits

WINDOW_S = 60


@dataclass(slots=True)
class _Usage:
    window: int  # number of the minute since 1970
    requests: int = 0
    tokens: int = 0
    running: int = 0


class RateLimiter:
    """Counts what each key uses in the current minute. Used from one thread.

    Args:
        now: Unix time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._usage: dict[str, _Usage] = {}

    @contextmanager
    def admitted(self, key: Key) -> Iterator[None]:
        """Count a request that the model must work on.

        Raises:
            ApiError: 429; the key has used up one of its limits.
        """
        if key.limits is None:
            yield
            return
        usage = self._of(key)
        self._check(key.limits, usage)
        usage.requests += 1
        usage.running += 1
        try:
            yield
        finally:
            usage.running -= 1

    def add_tokens(self, key: Key, tokens: int) -> None:
        """Count tokens that were read."""
        if key.limits is not None:
            self._of(key).tokens += tokens

    def headers(self, key: Key) -> dict[str, str]:
        """Return the headers that tell a client what is left; none for a key without limits."""
        if key.limits is None:
            return {}
        usage, limits = self._of(key), key.limits
        return {
            "X-RateLimit-Limit-Requests": str(limits.requests_per_minute),
            "X-RateLimit-Remaining-Requests": str(max(0, limits.requests_per_minute - usage.requests)),
            "X-RateLimit-Limit-Tokens": str(limits.tokens_per_minute),
            "X-RateLimit-Remaining-Tokens": str(max(0, limits.tokens_per_minute - usage.tokens)),
            "X-RateLimit-Reset": str((usage.window + 1) * WINDOW_S),
        }

    def _check(self, limits: KeyLimits, usage: _Usage) -> None:
        if limits.concurrent is not None and usage.running >= limits.concurrent:
            raise rate_limited(f"At most {limits.concurrent} requests at the same time", 1)
        wait_s = max(1, math.ceil((usage.window + 1) * WINDOW_S - self._now()))
        if usage.requests >= limits.requests_per_minute:
            raise rate_limited(f"At most {limits.requests_per_minute:,} requests per minute", wait_s)
        if usage.tokens >= limits.tokens_per_minute:
            raise rate_limited(f"At most {limits.tokens_per_minute:,} tokens per minute", wait_s)

    def _of(self, key: Key) -> _Usage:
        window = int(self._now()) // WINDOW_S
        usage = self._usage.setdefault(key.name, _Usage(window))
        if usage.window != window:
            usage.window, usage.requests, usage.tokens = window, 0, 0
        return usage
