"""Requests: how rows become records. Travels to the workers, which make the parser itself once each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from classer_core.requests import RequestParser
from classer_core.saved import SavedClassifiers


@dataclass(frozen=True)
class Requests:
    """The arguments of a `RequestParser`, which travel to the workers."""

    defaults: Mapping[str, Any]
    is_textual: bool = False
    saved: SavedClassifiers | None = None

    def parser(self, saved: SavedClassifiers | None = None) -> RequestParser:
        """Return a parser; `saved` are classifiers that are newer than those the job was loaded with."""
        return RequestParser(self.defaults, textual=self.is_textual, saved=saved or self.saved)
