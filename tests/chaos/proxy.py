"""A proxy in front of an object store: it passes requests on, or fails them."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.chaos.faults import Chaos

HANG_S = 1.0
_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "date", "server"}


class FaultyProxy:
    """`with` serves on `port`; requests go to the store on `upstream`."""

    def __init__(self, chaos: Chaos, upstream: str, scheme: str) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or _chunks(self)
                kind = chaos.next(operation_of(proxy.scheme, self.command, self.path, dict(self.headers)))
                if kind is None:
                    self._pass_on(body)
                elif kind == "time-out":
                    time.sleep(HANG_S)
                    self.close_connection = True
                elif kind == "connection reset":
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    self.connection.close()
                else:
                    self._answer(*refusal(proxy.scheme, kind))

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = do  # noqa: N815

            def _pass_on(self, body: bytes) -> None:
                upstream_connection = http.client.HTTPConnection(proxy.upstream, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
                if body or self.command in ("PUT", "POST"):
                    headers["Content-Length"] = str(len(body))
                upstream_connection.request(self.command, self.path, body, headers)
                answer = upstream_connection.getresponse()
                data = answer.read()
                kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
                length = answer.getheader("Content-Length") if self.command == "HEAD" else None
                self._answer(answer.status, data, kept, length)
                upstream_connection.close()

            def _answer(
                self, status: int, data: bytes, headers: list[tuple[str, str]], length: str | None = None
            ) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", length or str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                return

        self.scheme = scheme
        self.upstream = upstream
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def operation_of(scheme: str, method: str, url: str, headers: dict[str, str]) -> str:
    """Return which operation of a storage a request is."""
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    names = {name.lower() for name in headers}
    if method == "DELETE" or "delete" in query or parts.path.startswith("/batch"):
        return "delete"
    if "x-amz-copy-source" in names or "/rewriteTo/" in parts.path or "/copyTo/" in parts.path:
        return "rename"
    if method in ("PUT", "POST"):
        return "write"
    if method == "HEAD":
        return "open"
    if scheme == "s3":
        return "list" if "list-type" in query or "prefix" in query else "read"
    if parts.path.rstrip("/").endswith("/o"):
        return "list"
    return "read" if query.get("alt") == ["media"] or parts.path.startswith("/download") else "open"


def refusal(scheme: str, kind: str) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return status, body and headers, as the real store has them."""
    if scheme == "s3":
        status, code = {"403": (403, "AccessDenied"), "expired token": (400, "ExpiredToken")}.get(
            kind, (500, "InternalError")
        )
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{kind}</Message></Error>"
        return status, body.encode(), [("Content-Type", "application/xml")]
    status, message = {"403": (403, "Forbidden"), "expired token": (401, "Invalid Credentials")}.get(
        kind, (500, "Backend Error")
    )
    error = {"error": {"code": status, "message": message, "errors": [{"message": message}]}}
    return status, json.dumps(error).encode(), [("Content-Type", "application/json")]


def _chunks(handler: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in handler.headers.get("Transfer-Encoding", ""):
        return b""
    parts = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        parts.append(handler.rfile.read(size))
        handler.rfile.readline()
    while handler.rfile.readline().strip():
        pass
    return b"".join(parts)
