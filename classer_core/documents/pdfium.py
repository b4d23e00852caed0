"""PDFium, for what MuPDF can't: some JBIG2 scans that it draws in one colour, some files that it can't repair."""

from __future__ import annotations

from typing import Any

import pypdfium2
from PIL import Image as PillowImage

from classer_core.documents.expanded import Expanded, ExpandedPage, Image, Wanted
from classer_core.documents.zoom import page_zoom

PDFIUM_ERRORS = (pypdfium2.PdfiumError, IndexError, ValueError, OSError)


def read(data: bytes, wanted: Wanted) -> Expanded | None:
    """Return the pages of a damaged PDF; None where PDFium finds nothing on them either.

    Raises:
        ExpandError: more pages than allowed.
    """
    try:
        document = pypdfium2.PdfDocument(data)
        document.init_forms()
        count = len(document)
    except PDFIUM_ERRORS:
        return None
    used = wanted.page_range(count)
    pages = []
    has_content = False
    for index in range(used):
        try:
            page = document[index]
            text = page.get_textpage().get_text_bounded()
            has_content = has_content or bool(text.strip()) or next(iter(page.get_objects()), None) is not None
            zoom = page_zoom(page.get_width(), page.get_height(), wanted.side_px) if wanted.looks_at(text) else None
            pages.append(ExpandedPage(text, None if zoom is None else _as_image(_render(page, zoom))))
        except PDFIUM_ERRORS:
            continue
    # It is asked only for damaged files: blank pages are what is left of them.
    return Expanded(pages, len(pages) / count) if has_content else None


def draw(data: bytes, index: int, zoom: float) -> Image | None:
    """Return the picture of one page of a PDF; None where PDFium draws it in one colour, too."""
    try:
        document = pypdfium2.PdfDocument(data)
        document.init_forms()
        picture = _render(document[index], zoom)
    except PDFIUM_ERRORS:
        return None
    return _as_image(picture) if picture.getcolors(1) is None else None


def _render(page: Any, zoom: float) -> PillowImage.Image:
    picture: PillowImage.Image = page.render(scale=zoom).to_pil().convert("RGB")
    return picture


def _as_image(picture: PillowImage.Image) -> Image:
    return Image(picture.width, picture.height, picture.tobytes())
