"""What an error of a storage means for a job that has not begun: its problem, with the remedy, and without secrets."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator

from classer_core.errors import ClasserError, JobError, Problem, StorageError
from classer_core.fetching.rules import redacted
from classer_core.filesystems import is_url, scheme_of
from classer_core.patience import status_of

_SIGN_IN = {
    "gs": "Sign in with `gcloud auth application-default login`, or name a key file in GOOGLE_APPLICATION_CREDENTIALS.",
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
}
# Names of classes: the libraries are not loaded for them.
_NO_CREDENTIALS = re.compile(r"Credential|SSOToken|UnauthorizedSSO|RefreshError|ProfileNotFound")
# S3 says 400 to a token that has expired.
_EXPIRED = re.compile(r"ExpiredToken|TokenRefreshRequired|InvalidToken|token .*expired", re.IGNORECASE)
_DENIED = "Give the account that runs the job the right to read, write, list and delete there."
_LOCAL = {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}


@contextlib.contextmanager
def as_problem(place: str, path: str) -> Iterator[None]:
    """Turns what the job is to blame for into its error; what may be better in a minute is raised as it is.

    Args:
        place: the key of the job, or the option.
        path: what it says.

    Raises:
        JobError: there are no credentials, no such bucket or file, no right to use it, or it is of an unknown kind.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ClasserError) and not isinstance(error, StorageError):
            raise
        found = explain(error, path)
        if found is None:
            raise
        raise JobError([Problem(place, redacted(path), *found)]) from error


def explain(error: BaseException, path: str) -> tuple[str, str] | None:
    """What is wrong with a path and what to do about it; None for errors that the job is not to blame for."""
    if isinstance(error, StorageError) and error.__cause__ is not None:
        error = error.__cause__
    chain = [error, *filter(None, (error.__cause__, error.__context__))]
    status = next((found for one in chain if (found := status_of(one)) is not None), None)
    names = [type(one).__name__ for one in chain]
    if isinstance(error, ImportError):
        return f"is on a filesystem whose library is missing: {error}", "Install it."
    if isinstance(error, ValueError) and "Protocol not known" in str(error):
        return "is on a filesystem that is not known", "Use a path, gs://, s3://, or another that fsspec knows."
    expired = is_url(path) and any(_EXPIRED.search(str(one)) for one in chain)
    if status == 401 or expired or any(_NO_CREDENTIALS.search(name) for name in names):
        scheme = "gs" if scheme_of(path) in ("gs", "gcs") else "s3"
        return "needs credentials, and there are none that are accepted", _SIGN_IN[scheme]
    if is_url(path) and (status == 400 or "ParamValidationError" in names):
        return "is no valid name", "Correct the bucket's name, and what follows it."
    if isinstance(error, PermissionError) or status == 403 or str(error).startswith("Forbidden"):
        if is_url(path):
            return f"access is denied{_said(error)}", _DENIED
        return "access is denied by the filesystem", "Correct its owner or mode, or name another place."
    if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError):
        return "has a file where a folder should be, or the other way round", "Name another place."
    if isinstance(error, FileNotFoundError) or status == 404:
        return "is not there", "Correct the bucket's name, or make it." if is_url(path) else "Correct the path."
    if isinstance(error, OSError) and error.errno in _LOCAL and not is_url(path):
        return f"can't be used: {error.strerror}", "Make room, or name another place."
    return None


def _said(error: BaseException) -> str:
    """What the server says, without the URL that it may be about."""
    said = " ".join(re.sub(r"Forbidden: ?\S*|https?://\S+", "", str(error)).split())[:200]
    return f" ({said.rstrip('.')})" if said else ""
