"""The ASGI application of a server."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Router
from starlette.types import ASGIApp

from runners.serve.endpoints import ApiEndpoints
from runners.serve.frame import Frame
from runners.serve.jobs.endpoints import JobEndpoints
from runners.serve.pages import Pages
from runners.serve.service import Service

ASKED_HEADERS = ["Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID"]
SHOWN_HEADERS = [
    *("X-Request-ID", "X-Cache", "X-Cache-Key", "X-Cache-Age", "X-Tokens-Used", "Retry-After"),
    *("X-RateLimit-Limit-Requests", "X-RateLimit-Remaining-Requests"),
    *("X-RateLimit-Limit-Tokens", "X-RateLimit-Remaining-Tokens", "X-RateLimit-Reset"),
]


def build_app(service: Service) -> ASGIApp:
    """Return the application; the SDKs take a redirect for an error, so there are none."""
    routes = [
        *ApiEndpoints(service).routes(),
        *JobEndpoints(service).routes(),
        *Pages(service).routes(),
    ]
    app: ASGIApp = Router(routes, redirect_slashes=False)
    if service.settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=service.settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=ASKED_HEADERS,
            expose_headers=SHOWN_HEADERS,
        )
    return Frame(app, service)
