"""Read DOCX files: text from the XML, with the page breaks of Word's last layout. Runs in the sandbox."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from classer_core.contents import MAX_PAGES
from classer_core.documents.expanded import Expanded, ExpandedPage, ExpandError, ExpandRequest
from classer_core.errors import FailureCode

# Limits against compression bombs. Real files are far below them: the highest compression seen is 38-fold.
MAX_PARTS = 5_000
MAX_UNPACKED_BYTES = 200 << 20
MAX_RATIO = 200
RATIO_CHECKED_BYTES = 16 << 20
MAX_DEPTH = 1_000
# Word stores page breaks; other programs don't, and their text is split into pages of about a dense page's characters.
PAGE_CHARS = 4_000
PAGE_WIDTH_PT, PAGE_HEIGHT_PT = 612, 792

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    expat.ExpatError,
    KeyError,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
)
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
STRICT_W = "http://purl.oclc.org/ooxml/wordprocessingml/main}"
DRAWING = ("http://schemas.openxmlformats.org/drawingml/2006/main}", "http://purl.oclc.org/ooxml/drawingml/main}")
COMPATIBILITY = "http://schemas.openxmlformats.org/markup-compatibility/2006}"
MAIN_PART = re.compile(r"word/document\d*\.xml$")
OTHER_PARTS = re.compile(r"word/(header|footnotes|endnotes|footer)\d*\.xml$")


def read_docx(data: bytes, request: ExpandRequest) -> Expanded:
    """Return the pages of a DOCX file; their text includes headers, footers, notes and text boxes.

    Raises:
        ExpandError: the file is damaged, encrypted, a compression bomb, or has too many pages.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_archive(archive)
            pages = _page_texts(archive)
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        raise ExpandError(FailureCode.DOCUMENT_DAMAGED, f"the DOCX can't be read: {reason}") from error
    except RuntimeError as error:  # raised by zipfile for encrypted parts
        raise ExpandError(
            FailureCode.DOCUMENT_ENCRYPTED, "the DOCX needs a password: remove it and try again"
        ) from error
    used = request.page_range(len(pages))
    expanded = [ExpandedPage(text, None) for text in pages[:used]]
    is_drawn = request.draws_page("".join(pages))
    if is_drawn and not request.office:
        _draw_pages(data, request, expanded)
    return Expanded(expanded, used / len(pages), undrawn=is_drawn and request.office)


def check_archive(archive: zipfile.ZipFile) -> None:
    """Check the sizes of an archive's parts before any is unpacked.

    Raises:
        ExpandError: the archive has too many parts, or unpacks to too many bytes.
    """
    parts = archive.infolist()
    unpacked = sum(part.file_size for part in parts)
    ratio = max(
        (part.file_size / max(part.compress_size, 1) for part in parts if part.file_size > RATIO_CHECKED_BYTES),
        default=0.0,
    )
    if len(parts) > MAX_PARTS or unpacked > MAX_UNPACKED_BYTES or ratio > MAX_RATIO:
        message = (
            f"the DOCX unpacks to {len(parts):,} parts of {unpacked:,} bytes in all, {ratio:.0f} times their size: at "
            f"most {MAX_PARTS:,} parts, {MAX_UNPACKED_BYTES:,} bytes and {MAX_RATIO} times are allowed"
        )
        raise ExpandError(FailureCode.DOCUMENT_TOO_LARGE, message)


def _page_texts(archive: zipfile.ZipFile) -> list[str]:
    names = archive.namelist()
    main = next((name for name in names if MAIN_PART.match(name)), None) or _main_part_by_type(archive)
    pages = _TextReader().read(archive.read(main))
    other_parts = [_TextReader().read(archive.read(name)) for name in sorted(names) if OTHER_PARTS.match(name)]
    extra = "\n".join(text for part in other_parts for text in part if text.strip())
    if len(pages) == 1 and len(pages[0]) > PAGE_CHARS:  # the file has no page breaks
        pages = list(_pieces(pages[0]))
    if extra:
        pages[0] = f"{extra}\n{pages[0]}"
    return pages


def _main_part_by_type(archive: zipfile.ZipFile) -> str:
    types = archive.read("[Content_Types].xml").decode("utf-8", "replace")
    match = re.search(r'PartName="/([^"]+)"[^>]*wordprocessingml[^"]*main\+xml', types)
    if match is None:
        raise ValueError("it has no main document part")
    return match.group(1)


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        # A piece ends with a paragraph, if that makes it at most twice as long.
        end = text.find("\n", start + PAGE_CHARS, start + 2 * PAGE_CHARS) + 1 or start + PAGE_CHARS
        yield text[start:end]
        start = end


class _TextReader:
    """Reads the XML of one part; `read` returns the text of each page."""

    def __init__(self) -> None:
        self._pages: list[list[str]] = [[]]
        self._depth = 0
        self._skipped_from = 0  # depth of the outermost element whose content is skipped; 0 for none
        self._in_text = 0

    def read(self, xml: bytes) -> list[str]:
        parser = expat.ParserCreate(namespace_separator="}")
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.buffer_text = True
        parser.Parse(xml, True)
        pages = ["".join(page) for page in self._pages]
        while len(pages) > 1 and not pages[-1].strip():  # a page break at the end
            pages.pop()
        return pages

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"its XML is nested more than {MAX_DEPTH} deep")
        if self._skipped_from:
            return
        local = _local(name)
        # Deleted and moved text, field codes, and the fallback of content that is also there in a newer form.
        if local in ("del", "moveFrom", "delText", "instrText") or name == COMPATIBILITY + "Fallback":
            self._skipped_from = self._depth
        elif local == "t":
            self._in_text += 1
        elif local == "tab":
            self._add("\t")
        elif local in ("br", "cr"):
            page_break = any(key.endswith("type") and value == "page" for key, value in attributes.items())
            self._new_page() if page_break else self._add("\n")
        elif local == "lastRenderedPageBreak":
            self._new_page()

    def _end(self, name: str) -> None:
        if self._skipped_from == self._depth:
            self._skipped_from = 0
        elif not self._skipped_from:
            local = _local(name)
            if local == "t":
                self._in_text -= 1
            elif local in ("p", "tr"):
                self._add("\n")
            elif local == "tc":
                self._add("\t")
        self._depth -= 1

    def _characters(self, text: str) -> None:
        if self._in_text and not self._skipped_from:
            self._add(text)

    def _add(self, text: str) -> None:
        self._pages[-1].append(text)

    def _new_page(self) -> None:
        # Word writes a rendered page break after each hard one; only the first starts a page.
        if any(part.strip() for part in self._pages[-1]):
            self._pages.append([])


def _local(name: str) -> str:
    """Return the local name of an element in Word's or the drawing namespaces; an empty string for other elements."""
    space, _, local = name.rpartition("}")
    return local if space + "}" in (W, STRICT_W, *DRAWING) else ""


def _refuse_doctype(*_: Any) -> None:
    raise ValueError("its XML has a DOCTYPE")


def _draw_pages(data: bytes, request: ExpandRequest, pages: list[ExpandedPage]) -> None:
    """Draw the pages by converting them to HTML: with tables and pictures, but without Word's fonts and page breaks."""
    import mammoth
    import pymupdf

    from classer_core.documents.pdf import draw

    try:
        html = mammoth.convert_to_html(io.BytesIO(data)).value
    except MemoryError:
        raise
    except Exception:  # the text has been read; the pages remain without pixels
        return
    styled = f"<style>table, td {{ border: 1px solid black; border-collapse: collapse }}</style>{html}"
    document = pymupdf.open(stream=styled.encode(), filetype="html", width=PAGE_WIDTH_PT, height=PAGE_HEIGHT_PT)
    for index in range(min(document.page_count, MAX_PAGES)):
        if index == len(pages):
            pages.append(ExpandedPage("", None))
        pages[index].image = draw(document[index], request.side_px)
