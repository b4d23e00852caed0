"""When a message happened: what an attribute of it says, or else when it was published."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime


def event_time(attributes: Mapping[str, str], name: str | None, published_at: datetime) -> datetime:
    """The time in the attribute `name`, in UTC: RFC 3339, or milliseconds since 1970, as in Beam.

    `published_at` where no attribute is named, or a message has none of that name, or one that is no time: a stream
    does not stop for it.
    """
    value = attributes.get(name, "").strip() if name else ""
    if not value:
        return published_at
    try:
        if value.lstrip("-").isdigit():
            return datetime.fromtimestamp(int(value) / 1_000, UTC)
        found = datetime.fromisoformat(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return published_at


def time_of(milliseconds: int) -> datetime:
    """Milliseconds since 1970 as a server gives them; now, where they are no time."""
    try:
        return datetime.fromtimestamp(milliseconds / 1_000, UTC) if milliseconds >= 0 else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)
