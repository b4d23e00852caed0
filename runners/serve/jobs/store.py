"""The state of jobs, each in a folder of its own, whole after a crash at any moment."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson

from runners.serve.classifiers import timestamp

log = logging.getLogger(__name__)

Status = Literal["pending", "processing", "completed", "failed"]
JOB_ID = re.compile(r"batch_[0-9a-f]{16}")


@dataclass
class JobState:
    """A job as its `job.json` holds it.

    Attributes:
        owner: name of the key that made it; nobody else sees it.
        classifier: keys of a job file that say how texts are classified.
        attempts: how often its process was started without ending by itself.
        request_digest, idempotency_digest: of the request that made it, and of its Idempotency-Key.
    """

    job_id: str
    owner: str
    classifier: dict[str, Any]
    created_at: str = field(default_factory=lambda: timestamp(datetime.now(UTC)))
    status: Status = "pending"
    requests_total: int = 0
    requests_completed: int = 0
    requests_failed: int = 0
    estimated_tokens: int = 0
    actual_tokens: int | None = None
    started_at: str | None = None
    completed_at: str | None = None
    error: str | None = None
    attempts: int = 0
    number: int = 0
    request_digest: str = ""
    idempotency_digest: str | None = None

    def public(self) -> dict[str, Any]:
        """Return what clients see."""
        names = ("job_id", "status", "requests_total", "requests_completed", "requests_failed", "estimated_tokens")
        later = ("actual_tokens", "created_at", "started_at", "completed_at", "error")
        return {name: getattr(self, name) for name in (*names, *later)}

    def listed(self) -> dict[str, Any]:
        """Return what a list of jobs shows."""
        names = ("job_id", "status", "requests_total", "requests_completed", "created_at")
        return {name: getattr(self, name) for name in names}


class JobStore:
    """The folder of all jobs.

    Args:
        folder: made when first written to, for this user only.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self) -> Iterator[JobState]:
        """Yield all jobs; what can't be read is named in the log and left alone."""
        for path in sorted(self.folder.glob("batch_*/job.json")):
            try:
                yield JobState(**orjson.loads(path.read_bytes()))
            except (OSError, ValueError, TypeError) as error:
                log.warning("%s can't be read and is left out: %s", path, error)

    def new_id(self) -> str:
        """Return an id that no job has."""
        return f"batch_{secrets.token_hex(8)}"

    def of(self, job_id: str) -> Path:
        """Return the folder of a job."""
        if not JOB_ID.fullmatch(job_id):
            raise ValueError(f"not a job id: {job_id!r}")
        return self.folder / job_id

    def save(self, state: JobState) -> None:
        """Write the state of a job."""
        folder = self.of(state.job_id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(folder / "job.json", orjson.dumps(dataclasses.asdict(state)))

    def remove(self, job_id: str) -> None:
        """Remove a job and its files; the state goes first, so that half a job is not found again."""
        folder = self.of(job_id)
        (folder / "job.json").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file of this machine so that it is there whole, or as it was, whenever the power goes."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with new.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
