"""Read and draw PDF pages with MuPDF. Runs in the sandbox: hostile files can hang it, exhaust memory and crash it."""

from __future__ import annotations

from typing import Any

import pymupdf

from classer_core.documents import pdfium
from classer_core.documents.expanded import Expanded, ExpandedPage, ExpandError, ExpandRequest, Image
from classer_core.documents.zoom import page_zoom
from classer_core.errors import FailureCode

pymupdf.TOOLS.mupdf_display_errors(False)
pymupdf.TOOLS.mupdf_display_warnings(False)


def read_pdf(data: bytes, request: ExpandRequest) -> Expanded:
    """Return the pages of a PDF. A damaged one is repaired, and accepted if its pages have any content left.

    Raises:
        ExpandError: the PDF is encrypted, damaged beyond repair, or has no pages or too many.
    """
    try:
        document = pymupdf.open(stream=data, filetype="pdf")
        if document.needs_pass:
            raise ExpandError(FailureCode.DOCUMENT_ENCRYPTED, "the PDF needs a password: remove it and try again")
        count = document.page_count
        if count:
            expanded = read_pages(document, request, data)
            if not document.is_repaired or _has_content(document, expanded):
                return expanded
            failure = ExpandError(
                FailureCode.DOCUMENT_DAMAGED, "the PDF is damaged, and its pages have no content left"
            )
        else:
            failure = ExpandError(FailureCode.DOCUMENT_EMPTY, "the PDF has no pages")
    except (pymupdf.FileDataError, pymupdf.EmptyFileError, RuntimeError, ValueError) as error:
        _raise_if_memory(error)
        failure = ExpandError(FailureCode.DOCUMENT_DAMAGED, f"the PDF can't be opened: {_short(error)}")
    except ExpandError as error:
        if error.code != FailureCode.DOCUMENT_DAMAGED:
            raise
        failure = error
    # Each of the two engines repairs some files that the other can't.
    if (repaired := pdfium.read(data, request)) is None:
        raise failure
    return repaired


def read_pages(document: Any, request: ExpandRequest, pdf: bytes | None = None) -> Expanded:
    """Return the pages of an open document.

    Args:
        document: of MuPDF.
        request: how to expand it.
        pdf: the document's file, for pages that MuPDF can't draw.

    Raises:
        ExpandError: no page can be read, or there are too many.
    """
    count = document.page_count
    used = request.page_range(count)
    pages, errors = [], []
    for index in range(used):
        try:
            page = document[index]
            text = page.get_text("text")
        except (RuntimeError, ValueError, pymupdf.mupdf.FzErrorBase) as error:
            _raise_if_memory(error)
            errors.append(error)
            pages.append(ExpandedPage("", None))
            continue
        pages.append(ExpandedPage(text, draw(page, request.side_px, pdf, index) if request.draws_page(text) else None))
    if len(errors) == used:
        raise ExpandError(FailureCode.DOCUMENT_DAMAGED, f"no page can be read: {_short(errors[0])}")
    # Drop the older half of the cache; keeping the fonts that the next document needs saves a third of the time.
    pymupdf.TOOLS.store_shrink(50)
    return Expanded(pages, used / count)


def _has_content(document: Any, expanded: Expanded) -> bool:
    """Return whether any page has text, pictures, drawings, annotations or form fields."""
    if any(page.text.strip() for page in expanded.pages):
        return True
    pages = (document[index] for index in range(len(expanded.pages)))
    return any(page.get_images() or page.get_bboxlog() or page.first_annot or page.first_widget for page in pages)


def draw(page: Any, side_px: int, pdf: bytes | None = None, index: int = 0) -> Image | None:
    """Return the pixels of a page; None if it has no area or can't be drawn.

    Args:
        page: of MuPDF.
        side_px: long side of the picture, which has at most `MAX_AREA_PX` pixels.
        pdf: the document's file, to draw the page with PDFium if MuPDF draws its pictures in one colour.
        index: of the page.
    """
    width, height = page.rect.width, page.rect.height
    zoom = page_zoom(width, height, side_px)
    if zoom is None:
        return None
    try:
        pixmap = page.get_pixmap(matrix=pymupdf.Matrix(zoom, zoom), colorspace=pymupdf.csRGB, alpha=False)
    except (RuntimeError, ValueError, pymupdf.mupdf.FzErrorBase) as error:
        _raise_if_memory(error)
        return None
    image = Image(pixmap.width, pixmap.height, pixmap.samples)
    if pdf is not None and _is_one_colour(image.rgb) and page.get_images():
        return pdfium.draw(pdf, index, zoom) or image
    return image


def _is_one_colour(rgb: bytes) -> bool:
    """Return whether all pixels are equal; MuPDF's own `is_unicolor` is a Python loop over pixels."""
    return rgb == rgb[:3] * (len(rgb) // 3)


def _raise_if_memory(error: Exception) -> None:
    if "malloc" in str(error) or "memory" in str(error):
        raise MemoryError(str(error)) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
