"""The endpoints of classify, tag, their batches, and saved classifiers."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from classer_core.errors import RecordError
from classer_core.records import Failure, Outcome, Record, Result
from runners.serve.answering import Answered
from runners.serve.errors import of_record
from runners.serve.frame import RequestInfo
from runners.serve.keys import Key, Permission
from runners.serve.responses import json_response
from runners.serve.service import Service
from runners.serve.wire import Mode, batch_body, parse_body, single_body, tokens_read

# Bodies above this are parsed by a thread: the event loop goes on meanwhile.
PARSED_ASIDE_BYTES = 64 << 10


class ApiEndpoints:
    """Endpoints that classify.

    Args:
        service: what requests share.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/classify", self.classify, methods=["POST"]),
            Route("/v1/tag", self.tag, methods=["POST"]),
            Route("/v1/classify/batch", self.classify_batch, methods=["POST"]),
            Route("/v1/tag/batch", self.tag_batch, methods=["POST"]),
            Route("/v1/classifiers", self.classifiers, methods=["GET", "POST"]),
            Route("/v1/classifiers/{reference}", self.classifier, methods=["GET"]),
        ]

    async def classify(self, request: Request) -> Response:
        """POST /v1/classify: one label."""
        return await self._single(request, "single")

    async def tag(self, request: Request) -> Response:
        """POST /v1/tag: every label at the threshold."""
        return await self._single(request, "multi")

    async def classify_batch(self, request: Request) -> Response:
        """POST /v1/classify/batch: one label each of 1-1,000 texts."""
        return await self._batch(request, "single")

    async def tag_batch(self, request: Request) -> Response:
        """POST /v1/tag/batch: every label at the threshold, each of 1-1,000 texts."""
        return await self._batch(request, "multi")

    async def classifiers(self, request: Request) -> Response:
        """GET and POST /v1/classifiers: the saved ones, and one more."""
        service = self._service
        if request.method != "POST":
            authorized(service, request, "classify")
            return json_response(await service.classifiers.list())
        authorized(service, request, "classifiers")
        async with service.bodies.read(request) as body:
            saved, is_new = await service.classifiers.save(parse_body(body))
        return json_response(saved, 201 if is_new else 200)

    async def classifier(self, request: Request) -> Response:
        """GET /v1/classifiers/{name} or {name@vN}."""
        authorized(self._service, request, "classify")
        reference = unquote(request.path_params["reference"])
        return json_response(await self._service.classifiers.get(reference))

    async def _single(self, request: Request, mode: Mode) -> Response:
        start = time.perf_counter()
        service, info = self._service, info_of(request)
        key = authorized(service, request, "classify", is_public=True)
        async with service.bodies.read(request) as body:
            document = await _parsed(body)
            record: Record = await service.classifiers.read(document, lambda reader: reader.record(document, mode))
            [answered] = await service.answering.answer([record], key, lambda: until_gone(request))
        outcome = answered.outcome
        if isinstance(outcome, Failure):
            raise of_record(RecordError(outcome.code, outcome.message, outcome.field))
        info.is_cached, info.tokens = outcome.cached, tokens_read([outcome])
        headers = _cache_headers([answered], info.tokens) | {"X-Cache-Key": outcome.fingerprint[:16]}
        return json_response(single_body(outcome, (time.perf_counter() - start) * 1000), headers=headers)

    async def _batch(self, request: Request, mode: Mode) -> Response:
        start = time.perf_counter()
        service, info = self._service, info_of(request)
        key = authorized(service, request, "classify")
        async with service.bodies.read(request) as body:
            document = await _parsed(body)
            items = await service.classifiers.read(document, lambda reader: reader.records(document, mode))
            records = [item for item in items if isinstance(item, Record)]
            found = await service.answering.answer(records, key, lambda: until_gone(request)) if records else []
        answers = iter(found)
        outcomes: list[Outcome | RecordError] = [
            next(answers).outcome if isinstance(item, Record) else item for item in items
        ]
        info.is_cached, info.tokens = _all_cached(outcomes), tokens_read(outcomes)
        return json_response(
            batch_body(outcomes, mode, (time.perf_counter() - start) * 1000),
            headers=_cache_headers(found, info.tokens) | {"X-Cache": "HIT" if info.is_cached else "MISS"},
        )


def authorized(service: Service, request: Request, permission: Permission, is_public: bool = False) -> Key:
    """Return the key of a request.

    Raises:
        ApiError: 401 or 403.
    """
    key = service.keys.allowed(request.headers.get("authorization"), permission, is_public)
    info_of(request).key = key
    return key


def info_of(request: Request) -> RequestInfo:
    """Return what the frame knows of a request."""
    info: RequestInfo = request.scope["info"]
    return info


async def until_gone(request: Request) -> None:
    """Return when the client has closed its connection; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _parsed(body: bytes) -> dict[str, Any]:
    return await asyncio.to_thread(parse_body, body) if len(body) > PARSED_ASIDE_BYTES else parse_body(body)


def _cache_headers(found: list[Answered], tokens: int) -> dict[str, str]:
    """Return the headers about the cache; a batch is as old as the youngest of its answers."""
    ages = [item.age_s for item in found if item.age_s is not None]
    is_hit = bool(found) and len(ages) == len(found)
    headers = {"X-Cache": "HIT" if is_hit else "MISS", "X-Tokens-Used": str(tokens)}
    return headers | ({"X-Cache-Age": str(min(ages))} if is_hit else {})


def _all_cached(outcomes: list[Outcome | RecordError]) -> bool:
    return all(isinstance(outcome, Result) and outcome.cached for outcome in outcomes)
