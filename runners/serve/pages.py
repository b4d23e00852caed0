"""What people and machines look at: the page at `/`, the API's description, health, readiness and metrics."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import yaml
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runners.serve.responses import json_response
from runners.serve.service import Service
from runners.serve.version import VERSION

FOLDER = Path(__file__).parent
STATIC = {"style.css": "text/css", "page.js": "text/javascript", "page.html": "text/html"}
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Pages:
    """Endpoints that need no key.

    Args:
        service: what requests share.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/", self.page),
            Route("/style.css", self.style),
            Route("/page.js", self.script),
            Route("/docs", self.docs),
            Route("/openapi.json", self.description),
            Route("/healthz", self.health),
            Route("/health", self.health),
            Route("/readyz", self.ready),
            Route("/metrics", self.metrics),
        ]

    async def page(self, request: Request) -> Response:
        """GET /: try the model."""
        return _static("page.html")

    async def style(self, request: Request) -> Response:
        """GET /style.css."""
        return _static("style.css")

    async def script(self, request: Request) -> Response:
        """GET /page.js."""
        return _static("page.js")

    async def docs(self, request: Request) -> Response:
        """GET /docs: the description for people, without anything from elsewhere."""
        page = _template().render(api=describe(self._service.settings.root_path))
        return Response(page, headers={"Content-Security-Policy": POLICY}, media_type="text/html")

    async def description(self, request: Request) -> Response:
        """GET /openapi.json."""
        return json_response(describe(self._service.settings.root_path))

    async def health(self, request: Request) -> Response:
        """GET /healthz: the process lives."""
        return json_response({"status": "healthy", "version": VERSION})

    async def ready(self, request: Request) -> Response:
        """GET /readyz: the model is warm, and the server is not about to end."""
        if self._service.is_ready:
            return json_response({"status": "ready"})
        return json_response({"status": "draining" if self._service.is_draining else "starting"}, 503)

    async def metrics(self, request: Request) -> Response:
        """GET /metrics."""
        return Response(self._service.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


@lru_cache
def describe(root_path: str = "") -> dict[str, Any]:
    """Return the OpenAPI document of a server behind this prefix."""
    document: dict[str, Any] = yaml.safe_load((FOLDER / "openapi.yaml").read_text(encoding="utf-8"))
    document["info"]["version"] = VERSION
    document["servers"] = [{"url": root_path or "/"}]
    return document


def _static(name: str) -> Response:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return Response((FOLDER / "static" / name).read_bytes(), headers=headers, media_type=STATIC[name])


@lru_cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(FOLDER / "static")
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template(
        "docs.html"
    )
