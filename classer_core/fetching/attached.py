"""Attachments of single requests: bytes, base64 and URLs, and never a path that a string names."""

from __future__ import annotations

from collections.abc import Sequence

from classer_core.classifiers import shown
from classer_core.contents import Attachment
from classer_core.errors import FailureCode, RecordError
from classer_core.fetching.fetcher import Fetcher
from classer_core.fetching.rules import inline_bytes
from classer_core.filesystems import scheme_of
from classer_core.records import Record


def fetch_attachments(fetcher: Fetcher, records: Sequence[Record]) -> None:
    """Fill `data` of all attachments; what several records share is decoded or fetched once.

    Raises:
        RecordError: one of them is neither bytes nor base64 nor an `https://` URL, or can't be fetched.
    """
    by_source: dict[str | bytes, list[Attachment]] = {}
    for record in records:
        for attachment in record.attachments:
            by_source.setdefault(attachment.source, []).append(attachment)
    remote = []
    for source, same in by_source.items():
        data = _inline(source, same[0])
        if data is None:
            remote.append(same)
        else:
            _fill(same, data)
    outcomes = fetcher.fetch([same[0] for same in remote])
    for same, error in zip(remote, outcomes, strict=True):
        if error is not None:
            raise RecordError(error.code, error.message, same[0].field)
        if (data := same[0].data) is not None:
            _fill(same, data)


def _inline(source: str | bytes, attachment: Attachment) -> bytes | None:
    """Return the bytes that a source holds itself; None for a URL.

    The fetcher would look a path up on this machine before it refuses it: paths don't get that far.
    """
    place, field = attachment.place, attachment.field
    if isinstance(source, bytes):
        return source
    try:
        data = inline_bytes(source, place)
    except RecordError as error:
        raise RecordError(error.code, error.message, field) from error
    if data is not None:
        return data
    if scheme_of(source) in ("http", "https"):
        return None
    message = f"{place} must be an https:// URL or base64, got {shown(source)}"
    raise RecordError(FailureCode.IMAGE_INVALID if field == "image" else FailureCode.FILE_INVALID, message, field)


def _fill(attachments: Sequence[Attachment], data: bytes) -> None:
    for attachment in attachments:
        attachment.data = data
