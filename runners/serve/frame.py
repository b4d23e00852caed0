"""Frame: what happens around every request: its id, its log line, its errors, and what pages of others may do."""

from __future__ import annotations

import logging
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runners.serve.answering import ClientGoneError
from runners.serve.errors import ApiError, forbidden, internal, not_found
from runners.serve.keys import Key
from runners.serve.responses import json_response
from runners.serve.service import Service

log = logging.getLogger("classer.access")
errors = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
STATUS_CLIENT_GONE = 499  # as nginx logs it; nobody is sent it
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


@dataclass(slots=True)
class RequestInfo:
    """What is known of a request, for its log line and its headers."""

    request_id: str
    key: Key | None = None
    is_cached: bool | None = None
    tokens: int | None = None
    code: str | None = None


class Frame:
    """The outermost ASGI application.

    Args:
        app: the routes.
        service: what requests share.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        settings = service.settings
        self._root_path = settings.root_path
        self._friends = {*settings.cors_origins}
        if settings.public_url:
            self._friends.add(_origin(settings.public_url))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] != "http":
            return
        start = time.perf_counter()
        headers = Headers(scope=scope)
        asked_id = headers.get("x-request-id", "")
        info = RequestInfo(asked_id if REQUEST_ID.fullmatch(asked_id) else secrets.token_hex(8))
        scope["info"] = info
        scope["app"] = self  # routes raise what they can't answer, instead of answering in plain text
        if self._root_path:
            scope["root_path"] = self._root_path
        status = STATUS_CLIENT_GONE

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableHeaders(scope=message), info)
            await send(message)

        try:
            self._refuse_strangers(scope["method"], headers)
            await self._app(scope, receive, send_framed)
        except ClientGoneError:
            pass
        except Exception as error:  # a bug must not take the connection, or the server, with it
            if status != STATUS_CLIENT_GONE:
                raise
            await _error_response(error, info)(scope, receive, send_framed)
        seconds = time.perf_counter() - start
        endpoint = getattr(scope.get("endpoint"), "__name__", "none")
        self._service.metrics.request(endpoint, status, seconds)
        if log.isEnabledFor(logging.INFO):
            log.info("request", extra={"fields": _log_fields(scope, info, status, seconds)})

    def _refuse_strangers(self, method: str, headers: Headers) -> None:
        """Refuse requests that a page of another origin makes a browser send: they would need no key of ours.

        Raises:
            ApiError: 403.
        """
        origin = headers.get("origin")
        if origin is None or method in SAFE_METHODS or origin in self._friends or "*" in self._friends:
            return
        if urlsplit(origin).netloc != headers.get("host"):
            raise forbidden("Pages of this origin may not call the API; --cors-origin allows it")

    def _add_headers(self, headers: MutableHeaders, info: RequestInfo) -> None:
        headers["X-Request-ID"] = info.request_id
        for name, value in SECURITY_HEADERS.items():
            headers[name] = value
        if info.key is not None and info.key.limits is not None:
            headers.update(self._service.limiter.headers(info.key))
        if self._service.is_draining:
            headers["Connection"] = "close"


def _error_response(error: Exception, info: RequestInfo) -> Response:
    if isinstance(error, HTTPException):
        error = _of_routing(error)
    if not isinstance(error, ApiError):
        errors.exception("request %s failed", info.request_id, exc_info=error)
        error = internal()
    info.code = error.code
    return json_response(error.body(), error.status, error.headers)


def _of_routing(error: HTTPException) -> ApiError:
    headers = dict(error.headers or {})
    if error.status_code == 405:
        return ApiError(405, "METHOD_NOT_ALLOWED", "This address does not take this method", headers=headers)
    if error.status_code == 404:
        return not_found()
    return ApiError(error.status_code, "BAD_REQUEST", "The request can't be read", headers=headers)


def _log_fields(scope: Scope, info: RequestInfo, status: int, seconds: float) -> dict[str, Any]:
    client = scope.get("client")
    fields = {
        "request_id": info.request_id,
        "method": scope["method"],
        "path": scope["path"][:200],
        "status": status,
        "code": info.code,
        "ms": round(seconds * 1000, 2),
        "key": info.key.name if info.key is not None else None,
        "client": client[0] if client else None,
        "cached": info.is_cached,
        "tokens": info.tokens,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
