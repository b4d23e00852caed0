"""Secrets of a job stand in the environment: a job file, and the graph made of it, hold their names as `env:NAME`."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit

from classer_core.errors import JobError, Problem

FROM_ENVIRONMENT = "env:"
# Names of settings whose values are secrets, unless they name a file. Source: librdkafka's CONFIGURATION.md, Kafka's
# client settings, and what libraries of storages call theirs.
_SECRET = re.compile(
    r"passw|passphrase|pwd|secret|credential|jaas|private|(?:^|[._-])key\.pem$|oauthbearer\.config|api[._-]?key"
    r"|access[._-]?key|(?:^|[._-])token$|sas[._-]?(?:key|token)",
    re.IGNORECASE,
)
_FILE = re.compile(r"[._-](?:file|location|path)$", re.IGNORECASE)


def is_reference(value: Any) -> bool:
    """Return whether a value names a variable."""
    return isinstance(value, str) and value.startswith(FROM_ENVIRONMENT)


def is_set(reference: str) -> bool:
    """Return whether the variable that `env:NAME` names is there."""
    return reference.removeprefix(FROM_ENVIRONMENT) in os.environ


def from_environment(value: str, place: str) -> str:
    """Return the variable's value where `env:NAME` is given, else the value itself. Called on the worker.

    Raises:
        JobError: there is no such variable.
    """
    if not is_reference(value):
        return value
    found = os.environ.get(value.removeprefix(FROM_ENVIRONMENT))
    if found is None:
        remedy = "Set it where the job runs, on all workers."
        raise JobError([Problem(place, value, "there is no such variable", remedy)])
    return found


def is_secret_name(name: str) -> bool:
    """Return whether a setting of this name holds a secret."""
    return _SECRET.search(name) is not None and _FILE.search(name) is None


def holds_password(url: str) -> bool:
    """Return whether a URL has a password in front of its host."""
    try:
        return "://" in url and ":" in urlsplit(url).netloc.rpartition("@")[0]
    except ValueError:
        return "@" in url
