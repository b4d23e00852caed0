"""JobManager: makes, starts and supervises jobs. One process runs at a time; the others that were started wait."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from classer_core.filesystems import is_url
from classer_core.models.spec import ModelSpec, spec_of
from runners.serve.classifiers import timestamp
from runners.serve.errors import ApiError, conflict, not_found
from runners.serve.jobs.signing import UrlSigner
from runners.serve.jobs.store import JobState, JobStore
from runners.serve.settings import Settings

log = logging.getLogger(__name__)

LIST_JOBS = 20
MAX_ATTEMPTS = 3
WATCH_S = 0.25
BYTES_PER_TOKEN = 4
CACHE_VARIABLE = "CLASSER_SERVE_CACHE"  # as in `process`, which imports Beam


class JobManager:
    """The jobs of a server. Used on one event loop.

    Args:
        settings: the server's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.store = JobStore(settings.jobs)
        self.signer = UrlSigner(settings.jobs)
        self._jobs = {job.job_id: job for job in self.store.load()}
        self._number = max((job.number for job in self._jobs.values()), default=0)
        self._running: _Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    def resume(self) -> None:
        """Begin to supervise; jobs that were processing when the last server ended go on."""
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """Stop supervising. A process that runs goes on; the next server takes it over."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor

    def create(
        self, owner: str, classifier: dict[str, Any], document: Mapping[str, Any], idempotency_key: str | None
    ) -> JobState:
        """Make a job, or return the one that the same request has made.

        Args:
            owner: name of the key.
            classifier: keys of a job file.
            document: the request.
            idempotency_key: what tells a repeated request from a new one.

        Raises:
            ApiError: 409; another request has had the same Idempotency-Key.
        """
        # orjson takes neither lone surrogates nor large integers, which fields that nobody reads may hold.
        request = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
        digest = hashlib.sha256(f"{owner}\n{idempotency_key}".encode()).hexdigest() if idempotency_key else None
        if digest is not None:
            for job in self._jobs.values():
                if job.idempotency_digest == digest:
                    if job.request_digest != request:
                        raise conflict("Another request has had this Idempotency-Key")
                    return job
        self._number += 1
        job = JobState(
            self.store.new_id(),
            owner,
            classifier,
            number=self._number,
            request_digest=request,
            idempotency_digest=digest,
        )
        self.store.save(job)
        self._jobs[job.job_id] = job
        return job

    def get(self, owner: str, job_id: str) -> JobState:
        """Return a job.

        Raises:
            ApiError: 404; there is none, or it is another key's.
        """
        job = self._jobs.get(job_id)
        if job is None or job.owner != owner:
            raise not_found("There is no such job")
        return job

    def signed(self, job_id: str) -> JobState:
        """Return a job that a signed URL names.

        Raises:
            ApiError: 404; it was deleted.
        """
        if (job := self._jobs.get(job_id)) is None:
            raise not_found("There is no such job")
        return job

    def newest(self, owner: str) -> list[JobState]:
        """Return the newest jobs of a key, newest first."""
        own = [job for job in self._jobs.values() if job.owner == owner]
        return sorted(own, key=lambda job: -job.number)[:LIST_JOBS]

    def uploaded(self, job: JobState, size_bytes: int, lines: int) -> None:
        """Take note of an upload; the exact number of lines is known when the job runs."""
        job.requests_total, job.estimated_tokens = lines, size_bytes // BYTES_PER_TOKEN
        self.store.save(job)

    def check_open(self, job: JobState) -> None:
        """Let uploads pass to a job that has not begun.

        Raises:
            ApiError: 409; it has.
        """
        if job.status not in ("pending", "failed"):
            raise conflict(f"The job is {job.status}: it takes no file any more")

    def start(self, job: JobState) -> None:
        """Start a job; it runs when those that were started before have ended.

        Raises:
            ApiError: 400 without a file, 409 if it has been started, or another one of the same key is processing.
        """
        if job.status not in ("pending", "failed"):
            raise conflict(f"The job is {job.status}: only pending and failed jobs are started")
        if any(other.status == "processing" and other.owner == job.owner for other in self._jobs.values()):
            raise conflict("Another job is processing: one at a time")
        if not (self.store.of(job.job_id) / "input.ndjson").exists():
            raise ApiError(400, "BAD_REQUEST", "The job has no file: upload one first")
        for name in ("outcome.json", "progress.json"):
            (self.store.of(job.job_id) / name).unlink(missing_ok=True)
        job.status, job.error, job.attempts = "processing", None, 0
        job.started_at, job.completed_at = timestamp(datetime.now(UTC)), None
        job.requests_completed = job.requests_failed = 0
        self.store.save(job)

    def results(self, job: JobState) -> Path:
        """Return the file of a job's results.

        Raises:
            ApiError: 409; it has not completed.
        """
        if job.status != "completed":
            raise conflict(f"The job is {job.status}: results are there when it has completed")
        return self.store.of(job.job_id) / "results.ndjson"

    async def delete(self, job: JobState) -> None:
        """Delete a job and its files.

        Raises:
            ApiError: 409; it is processing.
        """
        if job.status == "processing":
            raise conflict("The job is processing: it can be deleted when it has ended")
        del self._jobs[job.job_id]
        await asyncio.to_thread(self.store.remove, job.job_id)

    async def _supervise(self) -> None:
        while True:
            try:
                self._look()
            except OSError:  # a full disk, for instance: it is tried again
                log.exception("jobs can't be supervised")
            await asyncio.sleep(WATCH_S)

    def _look(self) -> None:
        """Take note of what the process has done; begin the next one."""
        if self._running is None:
            started = [job for job in self._jobs.values() if job.status == "processing"]
            if started:
                self._begin(min(started, key=lambda job: (job.started_at or "", job.number)))
            return
        job, folder = self._running.job, self.store.of(self._running.job.job_id)
        if not self._running.has_ended():
            if (done := _read(folder / "progress.json")) is not None:
                job.requests_total, job.requests_completed = done["total"], done["done"]
            return
        self._running = None
        if _read(folder / "outcome.json") is None and job.attempts < MAX_ATTEMPTS:
            log.warning("the process of %s has died; it begins anew", job.job_id)
            return
        self._end(job, folder)

    def _begin(self, job: JobState) -> None:
        folder = self.store.of(job.job_id)
        if _read(folder / "outcome.json") is not None:  # it ended while no server was there
            self._end(job, folder)
            return
        lock = _locked(folder / "lock")
        if lock is None:
            log.info("%s is running already, since before this server", job.job_id)
            self._running = _Process(job, folder / "lock", None)
            return
        job.attempts += 1
        self.store.save(job)
        settings = self._settings
        folder_of_saved = settings.classifiers
        if not is_url(folder_of_saved):
            folder_of_saved = str(Path(folder_of_saved).absolute())
        document = job.classifier | {
            "classifiers": folder_of_saved,
            "model": spec_of(settings.model).to_document(),
            "visual_model": ModelSpec.of(settings.visual_model).to_document(),
        }
        command = [sys.executable, "-m", "runners.serve.jobs.process", str(folder), json.dumps(document)]
        with (folder / "log").open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | {CACHE_VARIABLE: settings.cache},
                # The process keeps the lock for as long as it lives, and lives on when this server ends.
                pass_fds=(lock,),
                start_new_session=True,
            )
        os.close(lock)
        self._running = _Process(job, folder / "lock", process.poll)

    def _end(self, job: JobState, folder: Path) -> None:
        outcome = _read(folder / "outcome.json") or {"status": "failed", "error": "Its process died several times"}
        job.status, job.error = outcome["status"], outcome.get("error")
        job.completed_at = timestamp(datetime.now(UTC))
        if job.status == "completed":
            job.requests_total, job.requests_failed = outcome["total"], outcome["failed"]
            job.requests_completed = outcome["total"] - outcome["failed"]
            job.actual_tokens = outcome["tokens"]
        self.store.save(job)
        log.info("%s has ended: %s", job.job_id, job.status)


class _Process:
    """The process of a job; `poll` asks a child of this server, the lock one of an earlier server."""

    def __init__(self, job: JobState, lock: Path, poll: Callable[[], int | None] | None) -> None:
        self.job = job
        self._lock = lock
        self._poll = poll

    def has_ended(self) -> bool:
        """Return whether nobody works at the job any more."""
        if self._poll is not None:
            return self._poll() is not None
        if (lock := _locked(self._lock)) is None:
            return False
        os.close(lock)
        return True


def _locked(path: Path) -> int | None:
    """Return an open file that this process has locked; None if another one has."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return document
