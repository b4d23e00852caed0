"""Jobs of BigQuery (queries, loads) that are run once, however often they are asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

ATTEMPTS = 5
# BigQuery's words for what may go well another time.
TRANSIENT = {"backendError", "internalError", "rateLimitExceeded", "jobBackendError", "jobInternalError"}


def run_once(client: Any, name: str, location: str | None, start: Callable[[str], Any]) -> Any:
    """A job that is done; one of this name that is running, or done before, is taken for it.

    Args:
        client: of BigQuery.
        name: of the job, the same one each time: it makes a repeated call harmless.
        location: where it runs: jobs are found there alone.
        start: starts the job with the id that it is given.

    Raises:
        GoogleAPICallError: the job failed, with BigQuery's reason.
    """
    from google.api_core import exceptions

    for attempt in range(1, ATTEMPTS + 1):
        job_id = f"{name}_{attempt}"
        try:
            job = found(client, job_id, location) or start(job_id)
        except exceptions.Conflict:  # another worker was faster
            job = client.get_job(job_id, location=location)
        try:
            job.result()
            return job
        except exceptions.GoogleAPICallError as error:
            reason = (job.error_result or {}).get("reason")
            if reason not in TRANSIENT or attempt == ATTEMPTS:
                raise
            log.warning("job %s: %s; tried again", job_id, error)
    raise AssertionError


def found(client: Any, job_id: str, location: str | None) -> Any:
    """The job of this id, if there is one."""
    from google.api_core import exceptions

    try:
        return client.get_job(job_id, location=location)
    except exceptions.NotFound:
        return None


def is_done(client: Any, name: str, location: str | None) -> bool:
    """Whether a job that `run_once` started has come to a good end."""
    for attempt in range(1, ATTEMPTS + 1):
        job = found(client, f"{name}_{attempt}", location)
        if job is None:
            return False
        if job.state == "DONE" and job.error_result is None:
            return True
    return False
