"""No secret in a job: it would stand in the graph, which everybody sees who may look at the job on its runner."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from classer_core.classifiers import shown
from classer_core.environment import FROM_ENVIRONMENT, holds_password, is_reference, is_secret_name
from classer_core.errors import Problem
from classer_core.fetching.rules import redacted
from pipelines.job.model import Job

# Keys of a job that may be `env:NAME`; all values of `options` may.
REFERENCES = (
    "cache",
    "model.api_key",
    "model.first.api_key",
    "model.then.api_key",
    "source.bootstrap_servers",
    "output.bootstrap_servers",
    "failures.bootstrap_servers",
)
HIDDEN = "…"


def secret_problems(job: Job, file: Path) -> list[Problem]:
    """Return the secrets that stand in the job itself, without their values, and references where none are read."""
    fields = {"source", "output", "failures", "cache", "classifiers", "model", "visual_model", "allow_paths"}
    problems = []
    for place, value in _texts(job.model_dump(include=fields)):
        remedy = f"Set a variable where the job runs, on all workers, and name it here: {FROM_ENVIRONMENT}NAME."
        section, _, name = place.partition(".options.")
        if is_reference(value):
            if not name and place not in REFERENCES:
                message = "is not one of the keys that may hold a secret, and so is not read from the environment"
                problems.append(Problem(f"{file}: {place}", value, message, "Write its value here."))
        elif name and is_secret_name(name):
            message = "is a secret, which everybody sees who may see the job"
            problems.append(Problem(f"{file}: {section}.options.{name}", HIDDEN, message, remedy))
        elif holds_password(value):
            if not name and place not in REFERENCES:
                remedy = "Leave it out: storages take their credentials from the environment."
            message = "holds a password, which everybody sees who may see the job"
            problems.append(Problem(f"{file}: {place}", redacted(value), message, remedy))
    return problems


def shown_safely(place: str, value: Any) -> str:
    """Return a wrong value as a message shows it: without what may be a secret."""
    if "options" in place.split(".") or any(is_secret_name(part) for part in place.split(".")):
        return HIDDEN
    value = _hidden(value)
    return redacted(value) if isinstance(value, str) else shown(value)


def override_key(override: str) -> str:
    """Return the key of a `--set`, whatever stands behind it."""
    return re.split(r"[=:\s\[{]", override, maxsplit=1)[0] + HIDDEN


def _hidden(value: Any) -> Any:
    if isinstance(value, Mapping):
        secret = {name for name in value if is_secret_name(str(name)) or name == "options"}
        return {name: HIDDEN if name in secret else _hidden(item) for name, item in value.items()}
    return [_hidden(item) for item in value] if isinstance(value, list) else value


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, text) of all texts in a mapping."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, place)
    elif isinstance(value, str):
        yield place, value
    elif value is not None and not isinstance(value, bool):
        yield place, str(value)
