"""Fetching: an attachment as given in, its bytes out. What a record names is hostile; what a job allows is a list."""

from classer_core.fetching.fetcher import Fetcher
from classer_core.fetching.rules import FetchRules

__all__ = ["FetchRules", "Fetcher"]
