"""A record's attachments, and the pages that text and attachments expand to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # (height, width, 3), RGB

MAX_IMAGES = 20
MAX_PAGES = 20
# Pixels of a page or picture handed to a model at most: 4 MP.
MAX_AREA_PX = 4_194_304
# The place of a record's own text among its pages.
TEXT_PLACE = "text"
# A page with less text than this is drawn and read by OCR: scans have a stamp or a page number as text at most.
THIN_TEXT_CHARS = 20


@dataclass(slots=True)
class Attachment:
    """One picture or document of a record.

    Attributes:
        field: the request field.
        number: position among the record's attachments of this field, from 1.
        source: URL, path, base64 or bytes, as in the record.
        data: the bytes, once fetched.
    """

    field: Literal["image", "file"]
    number: int
    source: str | bytes
    data: bytes | None = None

    @property
    def place(self) -> str:
        """Return the attachment's name in messages, such as `file` or `image 3`."""
        return "file" if self.field == "file" else f"image {self.number}"


@dataclass(slots=True)
class Page:
    """A page of a document, a picture, or the record's own text.

    Attributes:
        place: name of the page in results: "page 3", "image 1", "text".
        text: empty if there is none.
        pixels: (height, width, 3) RGB, if the visual model looks at this page.
    """

    place: str
    text: str
    pixels: Pixels | None = None


@dataclass(slots=True)
class Content:
    """The pages of a record; `coverage` is the share of the record's pages that they are, 0-1."""

    pages: list[Page]
    coverage: float = 1.0


@dataclass(frozen=True, slots=True)
class PixelNeeds:
    """Which pages and pictures a visual model needs as pixels.

    Attributes:
        pages: pages of documents: none, those with less than `THIN_TEXT_CHARS` characters of text, or all.
        side_px: long side of every page and picture; 0 for no pixels.
    """

    pages: Literal["none", "thin", "all"]
    side_px: int

    @classmethod
    def nothing(cls) -> PixelNeeds:
        """Return the needs of a model that does not look at pixels."""
        return cls("none", 0)
