"""Exit codes: the one place where errors become what `classer` prints and ends with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from classer_core.errors import (
    AlarmError,
    AnotherRunError,
    ClasserError,
    JobError,
    StorageError,
    TooManyFailuresError,
    UnreadableFilesError,
)
from runners.console import err

EXIT_STORAGE = 1
EXIT_WRONG_JOB = 2
EXIT_TOO_MANY_FAILURES = 3
EXIT_NOT_BETTER = 4  # of `classer tune`, which raises no error for it
EXIT_ANOTHER_RUN = 5
EXIT_UNREADABLE_FILES = 6
EXIT_ALARM = 7
CODES: dict[type[ClasserError], int] = {
    StorageError: EXIT_STORAGE,
    TooManyFailuresError: EXIT_TOO_MANY_FAILURES,
    AnotherRunError: EXIT_ANOTHER_RUN,
    UnreadableFilesError: EXIT_UNREADABLE_FILES,
    AlarmError: EXIT_ALARM,
}


def code_of(error: ClasserError) -> int:
    """Return the exit code of an error: 2, a wrong job, unless it has one of its own."""
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), EXIT_WRONG_JOB)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Print each error that is raised on purpose, and end the command with its exit code.

    Raises:
        typer.Exit: with the error as its cause.
    """
    try:
        yield
    except ClasserError as error:
        for line in error.problems if isinstance(error, JobError) else [error]:
            err.print(str(line), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(code_of(error)) from error
