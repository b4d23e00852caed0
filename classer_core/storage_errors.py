"""Turn errors of a storage into problems of the job, with a remedy and without secrets."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator

from classer_core.errors import ClasserError, JobError, Problem, StorageError
from classer_core.extras import install_command
from classer_core.fetching.rules import redacted
from classer_core.filesystems import is_url, scheme_of
from classer_core.patience import is_forbidden, is_invalid_name, status_of

_SIGN_IN = {
    "gs": "Sign in with `gcloud auth application-default login`, or name a key file in GOOGLE_APPLICATION_CREDENTIALS.",
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
}
# Compared with names of classes, so that their libraries are not imported.
_NO_CREDENTIALS = re.compile(r"Credential|SSOToken|UnauthorizedSSO|RefreshError|ProfileNotFound")
# S3 answers 400 to an expired token.
_EXPIRED = re.compile(r"ExpiredToken|TokenRefreshRequired|InvalidToken|token .*expired", re.IGNORECASE)
_DENIED = "Give the account that runs the job the right to read, write, list and delete there."
_LOCAL = {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}


@contextlib.contextmanager
def as_problem(place: str, path: str) -> Iterator[None]:
    """Raise errors that the job causes as JobError; errors that may pass are raised unchanged.

    Args:
        place: key of the job, or option of the command, that contains the path.
        path: the path or URL used within the context.

    Raises:
        JobError: credentials are missing, the bucket or file does not exist, access is denied, or the kind of
            filesystem is unknown.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ClasserError) and not isinstance(error, StorageError):
            raise
        explanation = explain(error, path)
        if explanation is None:
            raise
        message, remedy = explanation
        raise JobError([Problem(place, redacted(path), message, remedy)]) from error


def explain(error: BaseException, path: str) -> tuple[str, str] | None:
    """Return what is wrong with a path, and the remedy; None for errors that the job does not cause.

    >>> explain(FileNotFoundError(), "rows.csv")
    ('is not there', 'Correct the path.')
    """
    if isinstance(error, StorageError) and error.__cause__ is not None:
        error = error.__cause__
    chain = [error, *filter(None, (error.__cause__, error.__context__))]
    status = next((status for link in chain if (status := status_of(link)) is not None), None)
    names = [type(link).__name__ for link in chain]
    if isinstance(error, ImportError):
        extra = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}.get(scheme_of(path))
        remedy = f"Install it: {install_command(extra)}." if extra else "Install it."
        return f"is on a filesystem whose library is missing: {error}", remedy
    if isinstance(error, ValueError) and "Protocol not known" in str(error):
        return "is on an unknown kind of filesystem", "Use a path, gs://, s3://, or another URL that fsspec supports."
    expired = is_url(path) and any(_EXPIRED.search(str(link)) for link in chain)
    if status == 401 or expired or any(_NO_CREDENTIALS.search(name) for name in names):
        scheme = "gs" if scheme_of(path) in ("gs", "gcs") else "s3"
        return "needs credentials, and none were found or accepted", _SIGN_IN[scheme]
    if is_url(path) and (status == 400 or is_invalid_name(error)):
        return "is not a valid name", "Correct the bucket's name and the path after it."
    if isinstance(error, PermissionError) or status == 403 or is_forbidden(error):
        if is_url(path):
            return f"access is denied{_said(error)}", _DENIED
        return "access is denied by the filesystem", "Correct its owner or mode, or name another place."
    if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError):
        return "has a file where a folder is expected, or a folder where a file is expected", "Name another place."
    if isinstance(error, FileNotFoundError) or status == 404:
        remedy = "Correct the bucket's name, or create the bucket." if is_url(path) else "Correct the path."
        return "is not there", remedy
    if isinstance(error, OSError) and error.errno in _LOCAL and not is_url(path):
        return f"can't be used: {error.strerror}", "Free some space, or name another place."
    return None


def _said(error: BaseException) -> str:
    """Return the server's message in parentheses, without URLs, which may contain secrets; empty if there is none."""
    message = " ".join(re.sub(r"Forbidden: ?\S*|https?://\S+", "", str(error)).split())[:200]
    return f" ({message.rstrip('.')})" if message else ""
