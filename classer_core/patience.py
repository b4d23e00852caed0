"""Retries for storage: every request is tried a bounded number of times, with growing waits in between."""

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
# Denied requests rarely heal, but tokens are sometimes renewed late: they get one more chance.
ATTEMPTS_IF_DENIED = 2
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
# Answers, not troubles: asking again gives the same.
_ANSWERS = (
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

    The last error is raised as it is. Errors that are an answer (the file is not there, the name is wrong) are raised
    at once, and so is a lack of memory.
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
    """Return how often a request is tried that ends with this error."""
    if isinstance(error, _ANSWERS) or status_of(error) in (404, 412, 416):
        return 1
    if isinstance(error, PermissionError) or status_of(error) in (401, 403):
        return ATTEMPTS_IF_DENIED
    return ATTEMPTS


def wait(attempt: int) -> None:
    """Wait before the attempt after this one (from 1)."""
    time.sleep(min(FIRST_WAIT_S * 2 ** (attempt - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1))


def status_of(error: BaseException | None) -> int | None:
    """Return the HTTP status that an error of a storage library speaks of, if it does."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        return cast("int | None", response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    code = getattr(error, "code", None) or getattr(error, "status", None) or getattr(response, "status_code", None)
    return int(code) if isinstance(code, int) or (isinstance(code, str) and code.isdigit()) else None


def failure_of(name: str, error: BaseException, deed: str = "read") -> StorageError:
    """Return what is said of a file whose storage is in trouble; of URLs, without what servers say about them."""
    said = getattr(error, "strerror", None) or ""
    return StorageError(f"{name} can't be {deed}: {type(error).__name__}{f': {said}' if said else ''}")
