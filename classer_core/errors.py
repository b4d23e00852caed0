"""All exceptions of this package, and the codes of failed records.

    ClasserError
    ├── JobError              the job is invalid: nothing runs, exit code 2
    ├── RecordError           one record is invalid: it becomes a Failure, the job goes on
    ├── ModelLoadError        the model can't be loaded: nothing runs, exit code 2
    ├── LearningError         a classifier can't be tuned on these texts: exit code 2
    ├── AnotherRunError       another run writes to the same folder: nothing runs, exit code 5
    ├── TooManyFailuresError  more failures than `max_failure_ratio` allows: exit code 3
    ├── UnreadableFilesError  more unreadable files than `max_unreadable_files` allows: exit code 6
    ├── AlarmError            a run is not as its job's `alarm` wants it: exit code 7
    └── StorageError          a storage fails for longer than it is retried: the run ends, exit code 1

All other errors (disk full, out of memory, a sink that is down) propagate, so that the runner retries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FailureCode(StrEnum):
    """Codes of failure rows; they do not change between versions."""

    FILE_UNREADABLE = "file_unreadable"
    ROW_MALFORMED = "row_malformed"
    ROW_NOT_UTF8 = "row_not_utf8"
    ROW_TOO_LONG = "row_too_long"
    ID_INVALID = "id_invalid"
    TEXT_MISSING = "text_missing"
    TEXT_EMPTY = "text_empty"
    TEXT_INVALID = "text_invalid"
    TEXT_TOO_LONG = "text_too_long"
    LABELS_INVALID = "labels_invalid"
    DESCRIPTIONS_INVALID = "descriptions_invalid"
    EXAMPLES_INVALID = "examples_invalid"
    TEXT_TYPE_INVALID = "text_type_invalid"
    PRIORITY_INVALID = "priority_invalid"
    CACHE_INVALID = "cache_invalid"
    MODE_INVALID = "mode_invalid"
    THRESHOLD_INVALID = "threshold_invalid"
    MIN_CONFIDENCE_INVALID = "min_confidence_invalid"
    SCORES_INVALID = "scores_invalid"
    FALLBACK_LABEL_INVALID = "fallback_label_invalid"
    CLASSIFIER_INVALID = "classifier_invalid"
    IMAGE_INVALID = "image_invalid"
    FILE_INVALID = "file_invalid"
    TOO_MANY_IMAGES = "too_many_images"
    BASE64_INVALID = "base64_invalid"
    URL_INVALID = "url_invalid"
    SCHEME_NOT_ALLOWED = "scheme_not_allowed"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    PATH_NOT_ALLOWED = "path_not_allowed"
    CONTENT_NOT_FOUND = "content_not_found"
    CONTENT_TOO_LARGE = "content_too_large"
    FETCH_FAILED = "fetch_failed"
    FETCH_TIMEOUT = "fetch_timeout"
    DOCUMENT_EMPTY = "document_empty"
    DOCUMENT_UNSUPPORTED = "document_unsupported"
    DOCUMENT_ENCRYPTED = "document_encrypted"
    DOCUMENT_DAMAGED = "document_damaged"
    DOCUMENT_TOO_LARGE = "document_too_large"
    DOCUMENT_CRASHED = "document_crashed"
    DOCUMENT_TIMEOUT = "document_timeout"
    DOCUMENT_MEMORY = "document_memory"
    TOO_MANY_PAGES = "too_many_pages"
    IMAGE_UNSUPPORTED = "image_unsupported"
    IMAGE_DAMAGED = "image_damaged"
    IMAGE_TOO_LARGE = "image_too_large"
    NEEDS_VISUAL_MODEL = "needs_visual_model"
    MODEL_FAILED = "model_failed"
    ROW_REFUSED = "row_refused"


# User and password before the host of a URL.
_USER = re.compile(r"(?<=://)[^\s/?#'\"]*@")


def without_users(text: str) -> str:
    """Return the text with user and password removed from its URLs.

    >>> without_users("can't connect to redis://user:secret@host:6379/0")
    "can't connect to redis://host:6379/0"
    """
    return _USER.sub("", text)


class ClasserError(Exception):
    """Base class of this package's exceptions."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a job. User and password are removed from URLs, as problems are printed and stored in summaries.

    Attributes:
        place: key of the job or option of the command, such as `source.path`.
        value: the value there; empty if there is none.
        message: what is wrong with it.
        remedy: what to do about it, as a sentence.
    """

    place: str
    value: str
    message: str
    remedy: str

    def __post_init__(self) -> None:
        for name in ("value", "message", "remedy"):
            object.__setattr__(self, name, without_users(getattr(self, name)))

    def __str__(self) -> str:
        assignment = f" = {self.value}" if self.value else ""
        return f"{self.place}{assignment}: {self.message}. {self.remedy}"


class JobError(ClasserError):
    """An invalid job; `problems` lists every mistake that was found in it."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))

    def __reduce__(self) -> tuple[type[JobError], tuple[list[Problem]]]:
        return type(self), (self.problems,)


class RecordError(ClasserError):
    """An invalid record or request.

    Attributes:
        code: code of the failure row.
        message: what is wrong, with the value and the remedy.
        field: the request field at fault; None if no single field is.
    """

    def __init__(self, code: FailureCode, message: str, field: str | None = None) -> None:
        self.code = code
        self.message = message
        self.field = field
        super().__init__(f"{code}: {message}")

    def __reduce__(self) -> tuple[type[RecordError], tuple[FailureCode, str, str | None]]:
        return type(self), (self.code, self.message, self.field)


class ModelLoadError(ClasserError):
    """A model can't be loaded; the message says why and what to do."""


class LearningError(ClasserError):
    """A classifier can't be tuned on these texts; the message says why and what to do."""


class AnotherRunError(ClasserError):
    """Another run writes to the job's folder; the message says which run, where, and since when."""


class StorageError(ClasserError):
    """A storage failed for longer than requests are retried. The records and their content are not at fault."""


class UnreadableFilesError(ClasserError):
    """More files are unreadable than `max_unreadable_files` allows; nothing was published.

    Attributes:
        summary: counts and times of the run.
    """

    def __init__(self, message: str, summary: Any) -> None:
        self.summary = summary
        super().__init__(message)


class AlarmError(ClasserError):
    """A run is not as its job's `alarm` wants it; its rows are published.

    Attributes:
        summary: counts and times of the run.
    """

    def __init__(self, message: str, summary: Any) -> None:
        self.summary = summary
        super().__init__(message)


class TooManyFailuresError(ClasserError):
    """The share of failed records is above the job's `max_failure_ratio`; nothing was published.

    Attributes:
        summary: counts and times of the run.
    """

    def __init__(self, message: str, summary: Any) -> None:
        self.summary = summary
        super().__init__(message)
