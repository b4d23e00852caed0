"""Recognise the kind of a file by its content; file names and HTTP headers are not reliable."""

from __future__ import annotations

import io
import zipfile
from typing import Literal

Kind = Literal["empty", "pdf", "docx", "encrypted", "office", "zip", "svg", "other"]

OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
HEADER_BYTES = 1_024  # a PDF's header may follow after other bytes, as PDF readers allow
WORD_PARTS = ("word/document.xml", "word/document2.xml")
WORD_TYPE = b"wordprocessingml"


def kind_of(data: bytes) -> Kind:
    r"""Return the kind of a file; `other` is a picture if Pillow can open it.

    >>> kind_of(b"%PDF-1.7 ..."), kind_of(b" \n"), kind_of(b"<svg xmlns=...")
    ('pdf', 'empty', 'svg')
    """
    if not data.strip(b"\x00 \t\r\n"):
        return "empty"
    head = data[:HEADER_BYTES]
    if b"%PDF-" in head:
        return "pdf"
    if head.startswith(OLE_MAGIC):
        return "encrypted" if ENCRYPTED_STREAM in data else "office"
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(data)
    if b"<svg" in head.lower():
        return "svg"
    # PDFs without a header are recognised by their objects.
    if b"endobj" in data and (b"startxref" in data or b"trailer" in data or b"/Page" in data):
        return "pdf"
    return "other"


def _kind_of_zip(data: bytes) -> Kind:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            if names & set(WORD_PARTS):
                return "docx"
            info = archive.getinfo("[Content_Types].xml")
            if info.file_size < 1 << 20 and WORD_TYPE in archive.read(info):
                return "docx"
            return "office" if any(name.startswith(("xl/", "ppt/")) for name in names) else "zip"
    except Exception:  # a damaged archive is recognised by the names of its parts
        return "docx" if b"word/" in data else "zip"
