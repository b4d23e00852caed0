"""Fetch the bytes of attachments. What a record names is hostile; what a job allows is a list."""

from typing import TYPE_CHECKING, Any

from classer_core.fetching.rules import FetchRules

if TYPE_CHECKING:
    from classer_core.fetching.fetcher import Fetcher

__all__ = ["FetchRules", "Fetcher"]


def __getattr__(name: str) -> Any:
    """Import the fetcher when it is first asked for: the HTTP client is a large part of a short command's start."""
    if name == "Fetcher":
        from classer_core.fetching.fetcher import Fetcher

        return Fetcher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
