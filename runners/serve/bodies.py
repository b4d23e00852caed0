"""Bodies of requests: refused before they are read if they are too large, or if too many are in memory already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from runners.serve.answering import ClientGoneError
from runners.serve.errors import ApiError, invalid_json, too_large, unavailable

# A client that sends nothing for so long, in the middle of a body, is given up.
SILENCE_S = 30.0
# Bodies of all requests together; smaller ones than `SMALL_BYTES` are not counted.
HELD_BYTES = 1 << 30
SMALL_BYTES = 64 << 10


class Bodies:
    """Reads bodies of at most `max_bytes`, for requests of one event loop."""

    def __init__(self, max_bytes: int, held_bytes: int = HELD_BYTES) -> None:
        self._max_bytes = max_bytes
        self._free_bytes = max(held_bytes, max_bytes)

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Yield the body of a request; what it holds counts until the request has ended.

        Raises:
            ApiError: 408 the client is too slow, 413 the body is too large, 503 too many large bodies at once.
            ClientGoneError: the client has gone.
        """
        declared = content_length(request)
        if declared is not None and declared > self._max_bytes:
            raise too_large(self._max_bytes)
        # A chunked body does not say how large it will be.
        held = self._max_bytes if declared is None else declared if declared > SMALL_BYTES else 0
        if held > self._free_bytes:
            raise unavailable("Too many large bodies are being read", 2)
        self._free_bytes -= held
        try:
            parts, size = [], 0
            async for part in chunks(request):
                size += len(part)
                if size > self._max_bytes:
                    raise too_large(self._max_bytes)
                parts.append(part)
            if declared is None:
                self._free_bytes += held - size
                held = size
            yield b"".join(parts)
        finally:
            self._free_bytes += held


def content_length(request: Request) -> int | None:
    """Return the length that a request declares; None if it is chunked.

    Raises:
        ApiError: 400; it declares something else than a number.
    """
    value = request.headers.get("content-length")
    if value is None:
        return None if "transfer-encoding" in request.headers else 0
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise invalid_json("Content-Length is not a number of bytes")
    return int(value)


async def chunks(request: Request) -> AsyncIterator[bytes]:
    """Yield a body as it comes.

    Raises:
        ApiError: 408; the client sends nothing for too long.
        ClientGoneError: the client has gone.
    """
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):
                part = await anext(stream, None)
        except TimeoutError:
            message = f"Nothing of the body came for {SILENCE_S:.0f} s"
            raise ApiError(408, "REQUEST_TIMEOUT", message, headers={"Connection": "close"}) from None
        except ClientDisconnect:
            raise ClientGoneError from None
        if part is None:
            return
        if part:
            yield part
