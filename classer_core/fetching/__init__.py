"""Fetch the bytes of attachments. Sources in records are hostile; a job lists what they may reach."""

from typing import TYPE_CHECKING, Any

from classer_core.fetching.rules import FetchRules

if TYPE_CHECKING:
    from classer_core.fetching.fetcher import Fetcher

__all__ = ["FetchRules", "Fetcher"]


def __getattr__(name: str) -> Any:
    """Import `Fetcher` on first use: importing the HTTP client would slow the start of every command."""
    if name == "Fetcher":
        from classer_core.fetching.fetcher import Fetcher

        return Fetcher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
