"""Requests to the sandboxed process, its answers, and how both are sent: as JSON and bytes, never pickled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any

import orjson

from classer_core.contents import MAX_PAGES, THIN_TEXT_CHARS
from classer_core.errors import FailureCode

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 64 << 20
# Twenty pages of 4 MP are smaller. A compromised parser must not fill the worker's memory.
MAX_BLOBS_BYTES = 256 << 20


class ExpandError(Exception):
    """A document or picture can't be expanded; code and message are those of the record's failure."""

    def __init__(self, code: FailureCode, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


@dataclass(slots=True)
class Image:
    """RGB pixels, row by row."""

    width: int
    height: int
    rgb: bytes


@dataclass(slots=True)
class ExpandedPage:
    """Text and pixels of one page; `image` is None if no model needs the page's pixels."""

    text: str
    image: Image | None


@dataclass(slots=True)
class Expanded:
    """The pages of a document or picture.

    Attributes:
        pages: in order.
        coverage: share of the document's pages that they are, 0-1.
        undrawn: whether the pages still have to be drawn by LibreOffice.
    """

    pages: list[ExpandedPage]
    coverage: float = 1.0
    undrawn: bool = False


@dataclass(slots=True)
class ExpandRequest:
    """How to expand one attachment.

    Attributes:
        field: the request field, `image` or `file`.
        drawn_pages: pages of documents that are drawn: none, thin (with little text) or all.
        side_px: long side of every picture; 0 for no pixels.
        truncate: whether the first pages of a long document are read; otherwise long documents fail.
        timeout_s: wall-clock seconds that expanding may take.
        office: whether DOCX pages are left to LibreOffice to draw.
    """

    field: str
    drawn_pages: str
    side_px: int
    truncate: bool
    timeout_s: float
    office: bool = False

    def draws_page(self, text: str) -> bool:
        """Return whether a page with this text is drawn."""
        is_thin = len("".join(text.split())) < THIN_TEXT_CHARS
        return self.drawn_pages == "all" or (self.drawn_pages == "thin" and is_thin)

    def page_range(self, count: int) -> int:
        """Return how many of the document's `count` pages are read.

        Raises:
            ExpandError: there are more than `MAX_PAGES`, and `truncate` is false.
        """
        if count > MAX_PAGES and not self.truncate:
            message = (
                f"the document has {count} pages, at most {MAX_PAGES} are allowed: split it, or set page_overflow: "
                "truncate"
            )
            raise ExpandError(FailureCode.TOO_MANY_PAGES, message)
        return min(count, MAX_PAGES)


def send(pipe: IO[bytes], header: dict[str, Any], blobs: list[bytes]) -> None:
    """Write a message: the length of the header, the header as JSON with the lengths of the blobs, and the blobs."""
    packed = orjson.dumps({**header, "blobs": [len(blob) for blob in blobs]})
    pipe.write(len(packed).to_bytes(LENGTH_BYTES, "big") + packed)
    for blob in blobs:
        pipe.write(blob)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[dict[str, Any], list[bytes]] | None:
    """Return the next message (header, blobs); None if the pipe is closed, or the message is incomplete or too long."""
    length = pipe.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES or (size := int.from_bytes(length, "big")) > MAX_HEADER_BYTES:
        return None
    packed = pipe.read(size)
    if len(packed) < size:
        return None
    header = orjson.loads(packed)
    lengths = header["blobs"]
    if min(lengths, default=0) < 0 or sum(lengths) > MAX_BLOBS_BYTES:
        return None
    blobs = [pipe.read(length) for length in lengths]
    return (header, blobs) if [len(blob) for blob in blobs] == lengths else None


def pack(expanded: Expanded) -> tuple[dict[str, Any], list[bytes]]:
    """Return pages as a message (header, blobs)."""
    images = [page.image for page in expanded.pages]
    header = {
        "coverage": expanded.coverage,
        "undrawn": expanded.undrawn,
        "texts": [page.text.replace("\x00", " ").encode("utf-8", "replace").decode() for page in expanded.pages],
        "sizes": [None if image is None else (image.width, image.height) for image in images],
    }
    return header, [image.rgb for image in images if image is not None]


def unpack(header: dict[str, Any], blobs: list[bytes]) -> Expanded:
    """Return the pages in a message."""
    rest = iter(blobs)
    pages = [
        ExpandedPage(text, None if size is None else Image(int(size[0]), int(size[1]), next(rest)))
        for text, size in zip(header["texts"], header["sizes"], strict=True)
    ]
    return Expanded(pages, float(header["coverage"]), bool(header["undrawn"]))
