"""Read and draw PDFs with PDFium where MuPDF fails: files it can't repair, and JBIG2 scans it draws in one colour."""

from __future__ import annotations

from typing import Any

import pypdfium2
from PIL import Image as PillowImage

from classer_core.documents.expanded import Expanded, ExpandedPage, ExpandRequest, Image
from classer_core.documents.zoom import page_zoom

PDFIUM_ERRORS = (pypdfium2.PdfiumError, IndexError, ValueError, OSError)


def read(data: bytes, request: ExpandRequest) -> Expanded | None:
    """Return the pages of a damaged PDF; None if PDFium finds no content, either.

    Raises:
        ExpandError: there are more pages than allowed.
    """
    try:
        document = pypdfium2.PdfDocument(data)
        document.init_forms()
        count = len(document)
    except PDFIUM_ERRORS:
        return None
    used = request.page_range(count)
    pages = []
    has_content = False
    for index in range(used):
        try:
            page = document[index]
            text = page.get_textpage().get_text_bounded()
            has_content = has_content or bool(text.strip()) or next(iter(page.get_objects()), None) is not None
            zoom = page_zoom(page.get_width(), page.get_height(), request.side_px) if request.draws_page(text) else None
            pages.append(ExpandedPage(text, None if zoom is None else _as_image(_render(page, zoom))))
        except PDFIUM_ERRORS:
            continue
    # Only damaged files are read here: if all pages are blank, their content is lost.
    return Expanded(pages, len(pages) / count) if has_content else None


def draw(data: bytes, index: int, zoom: float) -> Image | None:
    """Return the pixels of a page; None if PDFium can't draw it, or draws it in one colour, too.

    Args:
        data: the PDF.
        index: of the page.
        zoom: pixels per point.
    """
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
