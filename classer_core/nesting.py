"""A bound on how deeply JSON from outside is nested."""

from __future__ import annotations

from typing import Any

# Python's and orjson's own bounds are some hundred levels, fewer the deeper the caller is; this one always holds.
MAX_LEVELS = 200


def is_too_deep(value: Any) -> bool:
    """Return whether lists and objects contain each other in more than `MAX_LEVELS` levels.

    >>> is_too_deep({"a": [1, {"b": []}]})
    False
    """
    contained = [value]
    for _ in range(MAX_LEVELS + 1):
        contained = [item for item in contained if isinstance(item, dict | list)]
        if not contained:
            return False
        contained = [inner for item in contained for inner in (item.values() if isinstance(item, dict) else item)]
    return True
