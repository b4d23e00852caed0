"""DOCX files: text straight from the XML, page by page as Word last laid them out. Runs in the sandbox."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from classer_core.contents import MAX_PAGES
from classer_core.documents.expanded import Expanded, ExpandedPage, ExpandError, Wanted
from classer_core.errors import FailureCode

# Real files stay far below these (the most compressed part seen shrank 38-fold); bombs far above.
MAX_PARTS = 5_000
MAX_UNPACKED_BYTES = 200 << 20
MAX_RATIO = 200
RATIO_CHECKED_BYTES = 16 << 20
MAX_DEPTH = 1_000
# Word writes where its pages end; other programs don't. About what a dense page holds:
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


def read_docx(data: bytes, wanted: Wanted) -> Expanded:
    """Return the pages of a DOCX; headers, notes and text boxes are part of the text.

    Raises:
        ExpandError: damaged, a bomb, or with too many pages.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_archive(archive)
            pages = _page_texts(archive)
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        raise ExpandError(FailureCode.DOCUMENT_DAMAGED, f"the DOCX can't be read: {reason}") from error
    except RuntimeError as error:  # zipfile: the parts are encrypted one by one
        raise ExpandError(
            FailureCode.DOCUMENT_ENCRYPTED, "the DOCX needs a password: remove it and try again"
        ) from error
    used = wanted.page_range(len(pages))
    expanded = [ExpandedPage(text, None) for text in pages[:used]]
    looked_at = wanted.looks_at("".join(pages))
    if looked_at and not wanted.office:
        _draw_pages(data, wanted, expanded)
    return Expanded(expanded, used / len(pages), undrawn=looked_at and wanted.office)


def check_archive(archive: zipfile.ZipFile) -> None:
    """Refuses what would not fit in memory, before anything is unpacked.

    Raises:
        ExpandError: too many parts, or too large ones.
    """
    parts = archive.infolist()
    unpacked = sum(part.file_size for part in parts)
    ratio = max(
        (part.file_size / max(part.compress_size, 1) for part in parts if part.file_size > RATIO_CHECKED_BYTES),
        default=0.0,
    )
    if len(parts) > MAX_PARTS or unpacked > MAX_UNPACKED_BYTES or ratio > MAX_RATIO:
        message = f"the DOCX unpacks to {len(parts)} parts of {unpacked:,} bytes, {ratio:.0f} times their size"
        raise ExpandError(FailureCode.DOCUMENT_TOO_LARGE, message)


def _page_texts(archive: zipfile.ZipFile) -> list[str]:
    names = archive.namelist()
    main = next((name for name in names if MAIN_PART.match(name)), None) or _main_part_by_type(archive)
    pages = _TextReader().read(archive.read(main))
    rest = [_TextReader().read(archive.read(name)) for name in sorted(names) if OTHER_PARTS.match(name)]
    extra = "\n".join(text for part in rest for text in part if text.strip())
    if len(pages) == 1 and len(pages[0]) > PAGE_CHARS:  # nobody said where its pages end
        pages = list(_pieces(pages[0]))
    if extra:
        pages[0] = f"{extra}\n{pages[0]}"
    return pages


def _main_part_by_type(archive: zipfile.ZipFile) -> str:
    types = archive.read("[Content_Types].xml").decode("utf-8", "replace")
    found = re.search(r'PartName="/([^"]+)"[^>]*wordprocessingml[^"]*main\+xml', types)
    if found is None:
        raise ValueError("it has no main document part")
    return found.group(1)


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        # Up to the paragraph's end, if that is not far.
        end = text.find("\n", start + PAGE_CHARS, start + 2 * PAGE_CHARS) + 1 or start + PAGE_CHARS
        yield text[start:end]
        start = end


class _TextReader:
    """Return the texts of the pages of one part's XML."""

    def __init__(self) -> None:
        self._pages: list[list[str]] = [[]]
        self._depth = 0
        self._skipped_from = 0  # depth of the outermost element whose content does not count
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
        while len(pages) > 1 and not pages[-1].strip():  # a break at the very end starts no page
            pages.pop()
        return pages

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"its XML is nested more than {MAX_DEPTH} deep")
        if self._skipped_from:
            return
        local = _local(name)
        # What was deleted or moved away, and the second drawing of everything drawn twice.
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
        # Word writes a rendered break right after a hard one; together they are one.
        if any(part.strip() for part in self._pages[-1]):
            self._pages.append([])


def _local(name: str) -> str:
    """The name of an element of Word's or a drawing's text; of any other, nothing."""
    space, _, local = name.rpartition("}")
    return local if space + "}" in (W, STRICT_W, *DRAWING) else ""


def _refuse_doctype(*_: Any) -> None:
    raise ValueError("its XML has a DOCTYPE")


def _draw_pages(data: bytes, wanted: Wanted, pages: list[ExpandedPage]) -> None:
    """Pictures of the pages by way of HTML, so that tables and pictures show; fonts and page ends are not Word's."""
    import mammoth
    import pymupdf

    from classer_core.documents.pdf import draw

    try:
        html = mammoth.convert_to_html(io.BytesIO(data)).value
    except MemoryError:
        raise
    except Exception:  # its text is read all the same; the pages stay without a picture
        return
    styled = f"<style>table, td {{ border: 1px solid black; border-collapse: collapse }}</style>{html}"
    document = pymupdf.open(stream=styled.encode(), filetype="html", width=PAGE_WIDTH_PT, height=PAGE_HEIGHT_PT)
    for index in range(min(document.page_count, MAX_PAGES)):
        if index == len(pages):
            pages.append(ExpandedPage("", None))
        pages[index].image = draw(document[index], wanted.side_px)
