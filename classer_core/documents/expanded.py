"""Requests to the sandbox and its answers. Plain bytes: nothing that comes from it is unpickled."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import IO, Any

import orjson

from classer_core.contents import MAX_PAGES, THIN_TEXT_CHARS
from classer_core.errors import FailureCode

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 64 << 20
# Twenty pages of 4 MP are less. A parser that was taken over must not fill the worker's memory.
MAX_BLOBS_BYTES = 256 << 20


class ExpandError(Exception):
    """Content that can't be expanded; it is the record's failure."""

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
    """Text and picture of one page; `image` is None where nobody wants to look."""

    text: str
    image: Image | None


@dataclass(slots=True)
class Expanded:
    """Pages, and the share of the document's pages that they are; `undrawn` pages wait for LibreOffice."""

    pages: list[ExpandedPage]
    coverage: float = 1.0
    undrawn: bool = False


@dataclass(slots=True)
class Wanted:
    """The request for one attachment.

    `looks` (none, thin, all) says which pages are drawn; `side_px` is the long side of every picture; `truncate` reads
    the first pages of a long document instead of failing; `office` leaves the drawing of DOCX pages to LibreOffice.
    """

    field: str
    looks: str
    side_px: int
    truncate: bool
    timeout_s: float
    office: bool = False

    def looks_at(self, text: str) -> bool:
        """Whether a page with this text is drawn."""
        return self.looks == "all" or (self.looks == "thin" and len("".join(text.split())) < THIN_TEXT_CHARS)

    def page_range(self, count: int) -> int:
        """How many of `count` pages are read.

        Raises:
            ExpandError: more than allowed.
        """
        if count > MAX_PAGES and not self.truncate:
            message = (
                f"the document has {count} pages, {MAX_PAGES} are allowed: split it, or set page_overflow: truncate"
            )
            raise ExpandError(FailureCode.TOO_MANY_PAGES, message)
        return min(count, MAX_PAGES)


def send(pipe: IO[bytes], header: dict[str, Any], blobs: list[bytes]) -> None:
    """Writes a message: the header's length, the header as JSON (with the blobs' lengths), the blobs."""
    packed = orjson.dumps({**header, "blobs": [len(blob) for blob in blobs]})
    pipe.write(len(packed).to_bytes(LENGTH_BYTES, "big") + packed)
    for blob in blobs:
        pipe.write(blob)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[dict[str, Any], list[bytes]] | None:
    """Reads a message; None where the other side is gone, or says too much."""
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
    """Pages as a message."""
    images = [page.image for page in expanded.pages]
    header = {
        "coverage": expanded.coverage,
        "undrawn": expanded.undrawn,
        "texts": [page.text.replace("\x00", " ").encode("utf-8", "replace").decode() for page in expanded.pages],
        "sizes": [None if image is None else (image.width, image.height) for image in images],
    }
    return header, [image.rgb for image in images if image is not None]


def unpack(header: dict[str, Any], blobs: list[bytes]) -> Expanded:
    """A message as pages."""
    rest = iter(blobs)
    pages = [
        ExpandedPage(text, None if size is None else Image(int(size[0]), int(size[1]), next(rest)))
        for text, size in zip(header["texts"], header["sizes"], strict=True)
    ]
    return Expanded(pages, float(header["coverage"]), bool(header["undrawn"]))


def wanted_as_header(wanted: Wanted) -> dict[str, Any]:
    """The question as a message."""
    return asdict(wanted)
