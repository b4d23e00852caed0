"""GuardedProtocol: HTTP/1.1 of uvicorn, with bounds on what comes before there is a request."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from runners.serve.errors import ApiError

MAX_HEADER_BYTES = 64 << 10
MAX_HEADERS = 200
# From the connection, or a request's first byte, to the end of its headers.
HEADERS_TIMEOUT_S = 15.0
# How long the rest of a body is taken that nobody reads: a client that still sends would not see its response.
REST_TIMEOUT_S = 30.0


class GuardedProtocol(HttpToolsProtocol):
    """Refuses headers that are too many, too large or too slow; malformed requests get an error in JSON."""

    _is_in_headers = True
    _header_bytes = 0
    _refusal: ApiError | None = None
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Expect the first request soon."""
        super().connection_made(transport)
        self._expect(HEADERS_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._expect(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless the headers are too large already."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._is_in_headers and self.parser is not None:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
                self._refusal = _too_large()
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """Start to count the headers of a request."""
        self._is_in_headers, self._header_bytes = True, 0
        self._expect(HEADERS_TIMEOUT_S)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        if len(self.headers) >= MAX_HEADERS:
            self._refusal = _too_large()
            raise ValueError("too many headers")  # the parser stops, and the refusal is sent
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the request."""
        self._is_in_headers = False
        self._expect(None)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Bound how long the rest of an unread body is waited for."""
        super().on_response_complete()
        if self.cycle is not None and self.cycle.response_complete and self.cycle.more_body:
            self._expect(REST_TIMEOUT_S)

    def on_message_complete(self) -> None:
        """The body has come; the next request may take its time."""
        if self.cycle is not None:
            self.cycle.more_body = False
            if self.cycle.response_complete:
                self._expect(None)
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not a request, and close."""
        error = self._refusal or ApiError(400, "BAD_REQUEST", "This is not an HTTP/1.1 request")
        body = orjson.dumps(error.body())
        self.transport.write(
            STATUS_LINE[error.status]
            + b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            + body
        )
        self.transport.close()

    def _expect(self, seconds: float | None) -> None:
        """Close the connection unless something happens within so many seconds; None: for now nothing has to."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def _too_large() -> ApiError:
    message = f"The headers are more than {MAX_HEADERS}, or larger than {MAX_HEADER_BYTES:,} bytes"
    return ApiError(431, "HEADERS_TOO_LARGE", message)
