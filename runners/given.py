"""Pipeline options as the user gave them, and what is missing from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Option -> value, of what the user has set.
Given = Mapping[str, Any]
# Defaults to add, and how many bundles the workers of one machine classify at the same time.
Completed = tuple[dict[str, Any], int]


def missing(given: Given, **defaults: Any) -> dict[str, Any]:
    """The defaults of what is not given."""
    return {name: value for name, value in defaults.items() if name not in given}
