"""The server of a review: one page on this machine, for whoever has its address.

The address holds a token that nobody can guess, and the name of the host is checked, so that no other page in the
browser can read or answer (DNS rebinding). Records are shown as text only; the page may load nothing from elsewhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from classer_core.evaluation.page import environment
from classer_core.review import ReviewQueue

MAX_BODY_BYTES = 100_000
HOST = "127.0.0.1"


class ReviewServer(ThreadingHTTPServer):
    """Serves the page and the answers of a review. Call `serve_forever`.

    Args:
        queue: the rows.
        name: of what is reviewed.
        next_command: shown when all rows are reviewed.
        port: 0 for any free one.
    """

    daemon_threads = True

    def __init__(self, queue: ReviewQueue, name: str, next_command: str, port: int = 0) -> None:
        super().__init__((HOST, port), _Handler)
        self.queue, self.name, self.next_command = queue, name, next_command
        self.token = secrets.token_urlsafe(16)

    @property
    def address(self) -> str:
        """Return the URL of the page."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    timeout = 60

    def do_GET(self) -> None:
        """Answer with the page, or with the state."""
        action = self._action()
        if action == "":
            nonce = secrets.token_urlsafe(16)
            queue = self.server.queue
            page = (
                environment()
                .get_template("review.html")
                .render(
                    name=self.server.name,
                    labels=queue.labels,
                    several=queue.several,
                    file=str(queue.file),
                    next=self.server.next_command,
                    nonce=nonce,
                )
            )
            policy = f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'"
            self._send(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8", policy)
        elif action == "state":
            self._send_state()
        elif action is not None:
            self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Take an answer, a row to skip, or the wish to undo."""
        action = self._action()
        if action is None:
            return
        actions: dict[str, Callable[[dict[str, Any]], None]] = {
            "answer": lambda body: self.server.queue.answer(body["id"], body["labels"], body["note"]),
            "skip": lambda body: self.server.queue.skip(body["id"]),
            "undo": lambda _: self.server.queue.undo(),
        }
        try:
            length = int(self.headers.get("Content-Length", ""))
            if not 0 <= length <= MAX_BODY_BYTES or action not in actions:
                raise ValueError
            actions[action](orjson.loads(self.rfile.read(length)))
        except (ValueError, KeyError, TypeError, AttributeError):
            self._refuse(HTTPStatus.BAD_REQUEST)
        except OSError as error:
            self._send(HTTPStatus.INSUFFICIENT_STORAGE, f"{error.strerror}".encode(), "text/plain")
        else:
            self._send_state()

    def _action(self) -> str | None:
        """Return what is asked for; None if the request has been refused."""
        own = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        parts = self.path.split("/")  # /TOKEN/ACTION
        is_known = len(parts) == 3 and secrets.compare_digest(parts[1].encode(), self.server.token.encode())
        if self.headers.get("Host") not in own or not is_known:
            self._refuse(HTTPStatus.NOT_FOUND)
            return None
        return parts[2]

    def _send_state(self) -> None:
        self._send(HTTPStatus.OK, orjson.dumps(self.server.queue.state()), "application/json")

    def _refuse(self, status: HTTPStatus) -> None:
        self._send(status, status.phrase.encode(), "text/plain")

    def _send(self, status: HTTPStatus, body: bytes, kind: str, policy: str = "default-src 'none'") -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "Connection": "close",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: requests hold the token, and answers are in the file."""
