"""The endpoints of jobs: make, upload, start, poll, results, download, list, delete."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from classer_core.classifiers import MODES, shown
from runners.serve.endpoints import authorized
from runners.serve.errors import forbidden, invalid
from runners.serve.jobs.signing import Purpose
from runners.serve.jobs.store import JobState
from runners.serve.jobs.uploads import receive_upload
from runners.serve.responses import json_response
from runners.serve.service import Service
from runners.serve.wire import Mode, RequestReader, parse_body

# Fields of a request that say how texts are classified; lines hold texts alone.
FIELDS = ("labels", "classifier", "descriptions", "examples", "text_type", "source_type", "threshold")
MAX_IDEMPOTENCY_KEY_CHARS = 255
HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")


class JobEndpoints:
    """Endpoints of jobs.

    Args:
        service: what requests share.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._jobs = service.jobs

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/batch", self.jobs, methods=["GET", "POST"]),
            Route("/v1/batch/{job_id}", self.job, methods=["GET", "DELETE"]),
            Route("/v1/batch/{job_id}/start", self.start, methods=["POST"]),
            Route("/v1/batch/{job_id}/results", self.results, methods=["GET"]),
            Route("/v1/batch/{job_id}/upload", self.upload, methods=["POST"]),
            Route("/v1/batch/{job_id}/download", self.download, methods=["GET"]),
        ]

    async def jobs(self, request: Request) -> Response:
        """GET and POST /v1/batch: the newest jobs, and one more."""
        key = authorized(self._service, request, "jobs")
        if request.method != "POST":
            return json_response([job.listed() for job in self._jobs.newest(key.name)])
        repeated = request.headers.get("idempotency-key")
        if repeated is not None and not 1 <= len(repeated) <= MAX_IDEMPOTENCY_KEY_CHARS:
            raise invalid(f"Idempotency-Key has 1-{MAX_IDEMPOTENCY_KEY_CHARS} characters", "Idempotency-Key")
        async with self._service.bodies.read(request) as body:
            document = parse_body(body)
        said = await self._service.classifiers.read(document, lambda reader: _job_keys(reader, document))
        job = self._jobs.create(key.name, said, document, repeated)
        return json_response(self._created(request, job), 201)

    async def job(self, request: Request) -> Response:
        """GET and DELETE /v1/batch/{job_id}: its state; it and its files."""
        job = self._named(request)
        if request.method != "DELETE":
            return json_response(job.public())
        await self._jobs.delete(job)
        return json_response({"job_id": job.job_id, "deleted": True})

    async def start(self, request: Request) -> Response:
        """POST /v1/batch/{job_id}/start."""
        job = self._named(request)
        self._jobs.start(job)
        return json_response({"job_id": job.job_id, "status": job.status}, 202)

    async def results(self, request: Request) -> Response:
        """GET /v1/batch/{job_id}/results: where they are."""
        job = self._named(request)
        self._jobs.results(job)
        return json_response({"job_id": job.job_id, "download_url": self._url(request, "download", job.job_id)})

    async def upload(self, request: Request) -> Response:
        """POST to an upload URL: it needs no key."""
        job = self._signed(request, "upload")
        self._jobs.check_open(job)

        def check(fields: Mapping[str, str]) -> None:
            if fields.get("key") != _input_key(job):
                raise forbidden("The field `key` must be the one that the job was given")
            self._jobs.check_open(job)

        size, lines = await receive_upload(request, self._jobs.store.of(job.job_id) / "input.ndjson", check)
        self._jobs.uploaded(job, size, lines)
        return Response(status_code=204)

    async def download(self, request: Request) -> Response:
        """GET a download URL: it needs no key."""
        job = self._signed(request, "download")
        return FileResponse(self._jobs.results(job), media_type="application/x-ndjson", filename=f"{job.job_id}.ndjson")

    def _named(self, request: Request) -> JobState:
        key = authorized(self._service, request, "jobs")
        return self._jobs.get(key.name, request.path_params["job_id"])

    def _signed(self, request: Request, purpose: Purpose) -> JobState:
        job_id = request.path_params["job_id"]
        self._jobs.signer.check(purpose, job_id, request.query_params)
        return self._jobs.signed(job_id)

    def _created(self, request: Request, job: JobState) -> dict[str, Any]:
        input_key = _input_key(job)
        policy = base64.b64encode(json.dumps({"conditions": [{"key": input_key}]}).encode()).decode()
        url = self._url(request, "upload", job.job_id)
        return {
            "job_id": job.job_id,
            "upload_url": url,
            "upload_fields": {
                "key": input_key,
                "policy": policy,
                "x-amz-signature": url.rpartition("signature=")[2],
            },
            "input_key": input_key,
        }

    def _url(self, request: Request, purpose: Purpose, job_id: str) -> str:
        settings = self._service.settings
        host = request.headers.get("host", "")
        if settings.public_url:
            base = settings.public_url.rstrip("/")
        else:
            known = host if HOST.fullmatch(host) else f"{settings.host}:{settings.port}"
            base = f"{request.url.scheme}://{known}{settings.root_path}"
        return f"{base}/v1/batch/{job_id}/{purpose}?{self._jobs.signer.query(purpose, job_id)}"


def _input_key(job: JobState) -> str:
    return f"inputs/{job.job_id}.ndjson"


def _job_keys(reader: RequestReader, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a job file that say how a job's texts are classified.

    Raises:
        ApiError: 404 or 422; a field breaks a rule, or there is no such classifier.
    """
    fields = {name: document[name] for name in FIELDS if name in document}
    mode: Mode = document["mode"] if document.get("mode") is not None else reader.saved_mode(document)
    if mode not in MODES:
        raise invalid(f"mode is single or multi, got {shown(mode)}", "mode")
    classifier = reader.record(fields | {"text": "any text"}, mode).classifier
    if classifier.saved_as is not None:
        return {"classifier": classifier.saved_as}
    return classifier.as_written().to_mapping()
