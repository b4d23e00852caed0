"""FetchRules, inline (base64) attachments, and sources as messages show them."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

from classer_core.classifiers import shown
from classer_core.errors import FailureCode, RecordError
from classer_core.filesystems import scheme_of

MAX_BYTES = 50 << 20
_BASE64 = re.compile(r"^[A-Za-z0-9+/_-]+={0,2}$")
_PADDED = re.compile(r"^[A-Za-z0-9+/_-]+=+$")
# A shorter string of base64 characters is more likely a path.
MIN_BASE64_CHARS = 32
MAX_PATH_CHARS = 4_096
# First characters of the base64 of PDF, DOCX (zip), PNG, JPEG, GIF, WebP and TIFF.
BASE64_STARTS = ("JVBERi", "UEsDB", "iVBORw0KG", "/9j/", "R0lGOD", "UklGR", "SUkqA", "TU0AK")
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{2,5}$")


@dataclass(frozen=True)
class FetchRules:
    """What records may reach in addition to public `https://` addresses.

    Attributes:
        allow_paths: folders, or prefixes such as `gs://bucket/folder`; paths in records must be below one of them.
        allow_hosts: hosts that may have private addresses.
        allow_http: whether `http://` is allowed.
        folder: the folder that relative paths start from.
    """

    allow_paths: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    allow_http: bool = False
    folder: str = "."


def inline_bytes(source: str, place: str) -> bytes | None:
    """Return the bytes of a `data:` URL or of bare base64; None for any other source.

    Args:
        source: of the attachment.
        place: the attachment, for messages.

    Raises:
        RecordError: the base64 is malformed, or the content is too large.

    >>> inline_bytes("data:text/plain;base64,aGVsbG8=", "file"), inline_bytes("docs/a.pdf", "file")
    (b'hello', None)
    """
    if source[:5].lower() == "data:":
        head, comma, body = source.partition(",")
        if not comma:
            raise RecordError(
                FailureCode.BASE64_INVALID, f"{place}: a data: URL must contain a comma, got {shown(source)}", place
            )
        if not head.lower().rstrip().endswith(";base64"):
            return _within_limit(unquote_to_bytes(body), place)
        return _decoded(unquote_to_bytes(body).decode("latin-1"), place)
    if _claims_base64(source):
        return _decoded(source, place)
    return None


def redacted(source: str) -> str:
    """Return a path or URL as messages show it, without secrets.

    >>> redacted("https://user:secret@host/a.pdf?token=secret")
    "'https://host/a.pdf?…'"
    """
    return shown(without_secrets(source), 200) if scheme_of(source) else shown(source)


def without_secrets(source: str) -> str:
    """Return a URL without user, password, query and fragment; a path unchanged."""
    if not scheme_of(source):
        return source
    try:
        parts = urlsplit(source)
        host = parts.netloc.rpartition("@")[2]
        omission = "?…" if parts.query or parts.fragment else ""
        return urlunsplit((parts.scheme, host, parts.path, "", "")) + omission
    except ValueError:
        return source.partition("?")[0].rpartition("@")[2]


def _claims_base64(source: str) -> bool:
    """Return whether a source that is not a URL is meant as base64, malformed or not, and not as a path.

    It is base64 if it begins like the base64 of a known kind of file, ends with padding, or is long and contains only
    base64 characters. A source that begins with a slash is a path, except the base64 of a JPEG (`/9j/`).
    """
    if source.startswith(BASE64_STARTS):
        return not _EXTENSION.search(source)
    if scheme_of(source) or source.startswith(("/", ".", "~")):
        return False
    if len(source) > MAX_PATH_CHARS:  # too long for a path
        return True
    compact = "".join(source.split())
    if _PADDED.match(compact):
        return True
    return len(source) >= MIN_BASE64_CHARS and _BASE64.match(compact) is not None


def _decoded(text: str, place: str) -> bytes:
    compact = "".join(text.split()).replace("-", "+").replace("_", "/")
    if len(compact) // 4 * 3 > MAX_BYTES + 4:
        return _within_limit(b"\0" * (len(compact) // 4 * 3), place)
    try:
        return _within_limit(base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True), place)
    except (binascii.Error, ValueError) as error:
        message = f"{place}: not valid base64: {error}; it begins with {shown(text[:24])}"
        raise RecordError(FailureCode.BASE64_INVALID, message, place) from error


def _within_limit(data: bytes, place: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise too_large(place, len(data))
    return data


def too_large(place: str, size: int | None = None) -> RecordError:
    """Return the error for content larger than `MAX_BYTES`; `size` is None if the size is unknown.

    >>> too_large("file", 60_000_000).message
    'file: has 60,000,000 bytes; at most 52,428,800 are allowed'
    """
    actual = f"{size:,}" if size is not None else "more"
    message = f"{place}: has {actual} bytes; at most {MAX_BYTES:,} are allowed"
    return RecordError(FailureCode.CONTENT_TOO_LARGE, message, place)
