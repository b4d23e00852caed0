"""BigQuery's refusals, before a job runs, as problems of the job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from classer_core.classifiers import shown
from classer_core.errors import JobError, Problem
from pipelines.bigquery.clients import CREDENTIALS_REMEDY

MESSAGE_CHARS = 400


def wrong(place: str, value: str, message: str, remedy: str) -> JobError:
    """Return the error of one problem."""
    return JobError([Problem(place, shown(value, 200) if value else "", message, remedy)])


@contextmanager
def job_problems(place: str, value: str) -> Iterator[None]:
    """Raise what BigQuery says of a wrong job as a JobError; other errors, such as an outage, stay as they are."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except exceptions.NotFound as error:
        remedy = "Correct project, dataset and name; `bq ls --project_id=PROJECT DATASET` shows what there is."
        raise wrong(place, value, f"is not there: {_said(error)}", remedy) from error
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        remedy = "Ask for the roles BigQuery Data Editor (of a source: Viewer), Job User and Read Session User."
        raise wrong(place, value, f"is refused: {_said(error)}", remedy) from error
    except exceptions.BadRequest as error:
        raise wrong(place, value, f"is not accepted: {_said(error)}", "Correct it.") from error
    except GoogleAuthError as error:
        raise wrong(place, value, f"can't be asked for: {_said(error)}", CREDENTIALS_REMEDY) from error


def _said(error: Exception) -> str:
    """BigQuery's own words, without the request that they answer."""
    message = getattr(error, "message", None) or str(error)
    return str(message).strip().splitlines()[0].rpartition("prettyPrint=false: ")[2][:MESSAGE_CHARS].rstrip(".")
