"""Secrets of a job are read from environment variables; job files and graphs contain only `env:NAME`."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit

from classer_core.errors import JobError, Problem

FROM_ENVIRONMENT = "env:"
# Names of settings whose values are secrets, unless they name a file. Source: librdkafka's CONFIGURATION.md, Kafka's
# client settings, and the settings of storage libraries.
_SECRET = re.compile(
    r"passw|passphrase|pwd|secret|credential|jaas|private|(?:^|[._-])key\.pem$|oauthbearer\.config|api[._-]?key"
    r"|access[._-]?key|(?:^|[._-])token$|sas[._-]?(?:key|token)",
    re.IGNORECASE,
)
_FILE = re.compile(r"[._-](?:file|location|path)$", re.IGNORECASE)


def is_reference(value: Any) -> bool:
    """Return whether a value has the form `env:NAME`.

    >>> is_reference("env:TOKEN"), is_reference("TOKEN")
    (True, False)
    """
    return isinstance(value, str) and value.startswith(FROM_ENVIRONMENT)


def is_set(reference: str) -> bool:
    """Return whether the variable that `env:NAME` names is set."""
    return reference.removeprefix(FROM_ENVIRONMENT) in os.environ


def from_environment(value: str, place: str) -> str:
    """Return the variable's value if `value` is `env:NAME`, else `value` itself. Called on the worker.

    Args:
        value: a setting of the job.
        place: the setting's key, for messages.

    Raises:
        JobError: the variable is not set.
    """
    if not is_reference(value):
        return value
    secret = os.environ.get(value.removeprefix(FROM_ENVIRONMENT))
    if secret is None:
        remedy = "Set it where the job runs, on all workers."
        raise JobError([Problem(place, value, "there is no such variable", remedy)])
    return secret


def is_secret_name(name: str) -> bool:
    """Return whether the value of a setting of this name is a secret.

    >>> is_secret_name("sasl.password"), is_secret_name("ssl.key.location"), is_secret_name("group.id")
    (True, False, False)
    """
    return _SECRET.search(name) is not None and _FILE.search(name) is None


def holds_password(url: str) -> bool:
    """Return whether a URL has a password before its host.

    >>> holds_password("redis://user:secret@host/0"), holds_password("redis://host:6379/0")
    (True, False)
    """
    try:
        return "://" in url and ":" in urlsplit(url).netloc.rpartition("@")[0]
    except ValueError:
        return "@" in url
