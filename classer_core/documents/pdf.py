"""PDF pages through MuPDF. Runs in the sandbox: hostile files hang it, eat memory, and may crash it."""

from __future__ import annotations

from typing import Any

import pymupdf

from classer_core.documents import pdfium
from classer_core.documents.expanded import Expanded, ExpandedPage, ExpandError, Image, Wanted
from classer_core.documents.zoom import page_zoom
from classer_core.errors import FailureCode

pymupdf.TOOLS.mupdf_display_errors(False)
pymupdf.TOOLS.mupdf_display_warnings(False)


def read_pdf(data: bytes, wanted: Wanted) -> Expanded:
    """Return the pages of a PDF; damage goes unmentioned where repair leaves something to read or to look at.

    Raises:
        ExpandError: encrypted, damaged beyond repair, without pages, or with too many.
    """
    try:
        document = pymupdf.open(stream=data, filetype="pdf")
        if document.needs_pass:
            raise ExpandError(FailureCode.DOCUMENT_ENCRYPTED, "the PDF needs a password: remove it and try again")
        count = document.page_count
        if count:
            expanded = read_pages(document, wanted, data)
            if not document.is_repaired or _has_content(document, expanded):
                return expanded
            failure = ExpandError(FailureCode.DOCUMENT_DAMAGED, "the PDF is damaged, and nothing of its pages is left")
        else:
            failure = ExpandError(FailureCode.DOCUMENT_EMPTY, "the PDF has no pages")
    except (pymupdf.FileDataError, pymupdf.EmptyFileError, RuntimeError, ValueError) as error:
        _raise_if_memory(error)
        failure = ExpandError(FailureCode.DOCUMENT_DAMAGED, f"the PDF can't be opened: {_short(error)}")
    except ExpandError as error:
        if error.code != FailureCode.DOCUMENT_DAMAGED:
            raise
        failure = error
    # Each engine repairs files that the other gives up.
    if (repaired := pdfium.read(data, wanted)) is None:
        raise failure
    return repaired


def read_pages(document: Any, wanted: Wanted, pdf: bytes | None = None) -> Expanded:
    """Return the pages of an open document of MuPDF; `pdf` is its file, for pages that MuPDF can't draw."""
    count = document.page_count
    used = wanted.page_range(count)
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
        pages.append(ExpandedPage(text, draw(page, wanted.side_px, pdf, index) if wanted.looks_at(text) else None))
    if len(errors) == used:
        raise ExpandError(FailureCode.DOCUMENT_DAMAGED, f"no page can be read: {_short(errors[0])}")
    pymupdf.TOOLS.store_shrink(
        50
    )  # the older half: fonts that the next document has too stay, worth a third of the speed
    return Expanded(pages, used / count)


def _has_content(document: Any, expanded: Expanded) -> bool:
    """Whether a page has text, or any mark on it."""
    if any(page.text.strip() for page in expanded.pages):
        return True
    pages = (document[index] for index in range(len(expanded.pages)))
    return any(page.get_images() or page.get_bboxlog() or page.first_annot or page.first_widget for page in pages)


def draw(page: Any, side_px: int, pdf: bytes | None = None, index: int = 0) -> Image | None:
    """Return a page's picture, its long side `side_px`, at most 4 MP; None where there is nothing to draw on."""
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
    """MuPDF's own `is_unicolor` takes a Python step for every pixel."""
    return rgb == rgb[:3] * (len(rgb) // 3)


def _raise_if_memory(error: Exception) -> None:
    if "malloc" in str(error) or "memory" in str(error):
        raise MemoryError(str(error)) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
