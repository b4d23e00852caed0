"""What a record holds beside its text: attachments as given, and the pages that they expand to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # (height, width, 3), RGB

MAX_IMAGES = 20
MAX_PAGES = 20
# A page with less text than this is looked at: scans carry a stamp or a page number at most.
THIN_TEXT_CHARS = 20


@dataclass(slots=True)
class Attachment:
    """One picture or document of a record: `source` as given, `data` once it is fetched."""

    field: Literal["image", "file"]
    number: int  # 1-based among the record's attachments of this field
    source: str | bytes
    data: bytes | None = None

    @property
    def place(self) -> str:
        """What messages call it: `file`, `image 3`."""
        return "file" if self.field == "file" else f"image {self.number}"


@dataclass(slots=True)
class Page:
    """A page of a document, or a picture: its text, and its pixels if a model will look at them."""

    place: str  # "page 3", "image 1", "text"
    text: str
    pixels: Pixels | None = None


@dataclass(slots=True)
class Content:
    """What a record expands to. `coverage` is the share of its pages that are here."""

    pages: list[Page]
    coverage: float = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a model wants to see: which pages of documents, and how large (long side in pixels); 0 is nothing."""

    pages: Literal["none", "thin", "all"]
    side_px: int

    @classmethod
    def nothing(cls) -> Look:
        """No pixels at all."""
        return cls("none", 0)
