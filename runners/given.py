"""Pipeline options as the user gave them, and what is missing from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from classer_core.classifiers import shown
from classer_core.errors import JobError, Problem

# Option -> value, of what the user has set.
Given = Mapping[str, Any]
# Defaults to add, and how many bundles the workers of one machine classify at the same time.
Completed = tuple[dict[str, Any], int]


def missing(given: Given, **defaults: Any) -> dict[str, Any]:
    """The defaults of what is not given."""
    return {name: value for name, value in defaults.items() if name not in given}


def number(given: Given, name: str, default: int) -> int:
    """A given option as a number.

    Raises:
        JobError: it is none.
    """
    try:
        return int(given.get(name, default))
    except ValueError:
        problem = Problem(f"--{name}", shown(given[name]), "is not a whole number", "Correct the value.")
        raise JobError([problem]) from None
