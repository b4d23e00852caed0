"""Rules for what records may reach, and the kinds of things that they name."""

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
# A shorter string of base64's letters is more likely a path.
MIN_BASE64_CHARS = 32
MAX_PATH_CHARS = 4_096
# How the base64 of PDF, DOCX (zip), PNG, JPEG, GIF, WebP and TIFF begins.
BASE64_STARTS = ("JVBERi", "UEsDB", "iVBORw0KG", "/9j/", "R0lGOD", "UklGR", "SUkqA", "TU0AK")
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{2,5}$")


@dataclass(frozen=True)
class FetchRules:
    """The places that records may reach beside public `https://` addresses.

    Args:
        allow_paths: folders, or prefixes like `gs://bucket/folder`, that paths of records may lie in.
        allow_hosts: hosts that are reached whatever their address is.
        allow_http: whether `http://` is fetched too.
        folder: what relative paths of records start at.
    """

    allow_paths: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    allow_http: bool = False
    folder: str = "."


def inline_bytes(source: str, place: str) -> bytes | None:
    """Return the bytes of a `data:` URL or bare base64; None if the source is something else.

    Raises:
        RecordError: it is base64, but broken or too large.
    """
    if source[:5].lower() == "data:":
        head, comma, body = source.partition(",")
        if not comma:
            raise RecordError(
                FailureCode.BASE64_INVALID, f"{place}: a data: URL has a comma, got {shown(source)}", place
            )
        if not head.lower().rstrip().endswith(";base64"):
            return _within_limit(unquote_to_bytes(body), place)
        return _decoded(unquote_to_bytes(body).decode("latin-1"), place)
    if _claims_base64(source):
        return _decoded(source, place)
    return None


def redacted(source: str) -> str:
    """A path or URL as a message shows it, without secrets."""
    return shown(without_secrets(source), 200) if scheme_of(source) else shown(source)


def without_secrets(source: str) -> str:
    """A URL without user, password, query and fragment; a path as it is."""
    if not scheme_of(source):
        return source
    try:
        parts = urlsplit(source)
        host = parts.netloc.rpartition("@")[2]
        cut = "?…" if parts.query or parts.fragment else ""
        return urlunsplit((parts.scheme, host, parts.path, "", "")) + cut
    except ValueError:
        return source.partition("?")[0].rpartition("@")[2]


def _claims_base64(source: str) -> bool:
    """Whether a text that is not a URL is meant to be base64, broken or not, and not a path.

    It is, if it begins as the base64 of a known kind of file does; if it ends in padding; or if it is long and of
    base64's letters. A slash at the start is a path, except in the base64 of a JPEG (`/9j/`).
    """
    if source.startswith(BASE64_STARTS):
        return not _EXTENSION.search(source)
    if scheme_of(source) or source.startswith(("/", ".", "~")):
        return False
    if len(source) > MAX_PATH_CHARS:  # whatever is in it
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
        message = f"{place}: not base64: {error}; it begins with {shown(text[:24])}"
        raise RecordError(FailureCode.BASE64_INVALID, message, place) from error


def _within_limit(data: bytes, place: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise too_large(place, len(data))
    return data


def too_large(place: str, size: int | None = None) -> RecordError:
    """The failure of content above the limit."""
    found = f"{size:,} bytes" if size is not None else "more"
    message = f"{place}: {found}, where {MAX_BYTES:,} bytes are allowed"
    return RecordError(FailureCode.CONTENT_TOO_LARGE, message, place)
