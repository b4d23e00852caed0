"""Everything that can go wrong, and what it means for the job.

    ClasserError
    ├── JobError           the job is wrong: nothing runs, exit code 2
    ├── RecordError        one record is wrong: it becomes a Failure, the job goes on
    ├── ModelLoadError     the model can't be loaded: nothing runs, exit code 2
    ├── AnotherRunError    another run writes the same folder: nothing runs, exit code 5
    ├── TooManyFailuresError  more failures than `max_failure_ratio` allows, exit code 3
    ├── UnreadableFilesError  more unreadable files than `max_unreadable_files` allows, exit code 6
    └── StorageError       a storage is in trouble for longer than it is retried: the run ends, exit code 1

Anything else (disk full, out of memory, a sink that is down) propagates, so that the runner retries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FailureCode(StrEnum):
    """Stable codes of failure rows; the README has them in one table."""

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


# What stands in front of the host of a URL.
_USER = re.compile(r"(?<=://)[^\s/?#'\"]*@")


def without_users(text: str) -> str:
    """Return a text whose URLs name neither user nor password."""
    return _USER.sub("", text)


class ClasserError(Exception):
    """Base of all errors raised on purpose."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a job: where, the value found there, and what to do about it.

    URLs in it have no user and no password, whoever wrote it: problems are printed, and stand in summaries.
    """

    place: str
    value: str
    message: str
    remedy: str

    def __post_init__(self) -> None:
        for name in ("value", "message", "remedy"):
            object.__setattr__(self, name, without_users(getattr(self, name)))

    def __str__(self) -> str:
        shown = f" = {self.value}" if self.value else ""
        return f"{self.place}{shown}: {self.message}. {self.remedy}"


class JobError(ClasserError):
    """A wrong job, with every problem found in it."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))

    def __reduce__(self) -> tuple[type[JobError], tuple[list[Problem]]]:
        return type(self), (self.problems,)


class RecordError(ClasserError):
    """A wrong record. `field` names the request field at fault, if one is."""

    def __init__(self, code: FailureCode, message: str, field: str | None = None) -> None:
        self.code = code
        self.message = message
        self.field = field
        super().__init__(f"{code}: {message}")

    def __reduce__(self) -> tuple[type[RecordError], tuple[FailureCode, str, str | None]]:
        return type(self), (self.code, self.message, self.field)


class ModelLoadError(ClasserError):
    """The model named by a job can't be loaded; the message says what was tried and what to do."""


class AnotherRunError(ClasserError):
    """Another run writes the folder that a job writes; the message says which one, where and since when."""


class StorageError(ClasserError):
    """A storage was in trouble for longer than requests are retried: no record's fault, and no damage."""


class UnreadableFilesError(ClasserError):
    """More files than `max_unreadable_files` can't be read; nothing is published. `summary` says what the run did."""

    def __init__(self, message: str, summary: Any) -> None:
        self.summary = summary
        super().__init__(message)


class TooManyFailuresError(ClasserError):
    """The share of failed records is above the job's `max_failure_ratio`; `summary` says what the run did."""

    def __init__(self, message: str, summary: Any) -> None:
        self.summary = summary
        super().__init__(message)
