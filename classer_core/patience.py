"""Retries of storage requests: a bounded number of attempts, with growing waits between them."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from classer_core.errors import StorageError

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS = 5
# A denied request is retried once: a token may be about to be renewed.
ATTEMPTS_IF_DENIED = 2
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
# Errors that a retry does not change.
_FINAL = (
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    ImportError,
    ValueError,
    MemoryError,
)


def patient(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function with retries. It must be safe to call again after a failure.

    The error of the last attempt is raised unchanged. Errors that a retry does not change (no such file, invalid name,
    out of memory) are raised at once.
    """

    @functools.wraps(function)
    def persistent(*args: P.args, **kwargs: P.kwargs) -> T:
        attempt = 0
        while True:
            attempt += 1
            try:
                return function(*args, **kwargs)
            except Exception as error:
                if attempt >= attempts_for(error):
                    raise
            wait(attempt)

    return persistent


def attempts_for(error: BaseException) -> int:
    """Return the number of attempts for a request that fails with this error.

    >>> attempts_for(FileNotFoundError()), attempts_for(PermissionError()), attempts_for(ConnectionError())
    (1, 2, 5)
    >>> attempts_for(OSError("Forbidden: https://storage.googleapis.com/..."))
    2
    """
    status = status_of(error)
    if isinstance(error, _FINAL) or status in (404, 412, 416) or is_invalid_name(error):
        return 1
    if isinstance(error, PermissionError) or status in (401, 403) or is_forbidden(error):
        return ATTEMPTS_IF_DENIED
    return ATTEMPTS


def is_invalid_name(error: BaseException) -> bool:
    """Return whether S3's client refused the name of a bucket or file before it sent a request."""
    return any(type(link).__name__ == "ParamValidationError" for link in (error, error.__cause__, error.__context__))


def is_forbidden(error: BaseException) -> bool:
    """Return whether this is gcsfs's error for status 403: an OSError that has no status."""
    return str(error).startswith("Forbidden")


def wait(attempt: int) -> None:
    """Sleep after a failed attempt; the first is number 1."""
    time.sleep(min(FIRST_WAIT_S * 2 ** (attempt - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1))


def status_of(error: BaseException | None) -> int | None:
    """Return the HTTP status in an error of a storage library; None if there is none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        return cast("int | None", response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    code = getattr(error, "code", None) or getattr(error, "status", None) or getattr(response, "status_code", None)
    return int(code) if isinstance(code, int) or (isinstance(code, str) and code.isdigit()) else None


def failure_of(name: str, error: BaseException, action: str = "read") -> StorageError:
    """Return the error to raise for a file whose storage fails.

    Args:
        name: the file, without secrets.
        error: of the last attempt; of its text only the operating system's is shown, as servers may repeat secrets.
        action: past participle of what was tried.

    >>> failure_of("a.csv", OSError(5, "Input/output error"))
    StorageError("a.csv can't be read: OSError: Input/output error")
    """
    reason = getattr(error, "strerror", None) or ""
    return StorageError(f"{name} can't be {action}: {type(error).__name__}{f': {reason}' if reason else ''}")
