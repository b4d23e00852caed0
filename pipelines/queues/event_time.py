"""When a message happened: what an attribute of it says, or else when it was published.

A time that lies too far ahead counts as none. One message dated 2999 would otherwise be the newest for ever: the
watermark would stand in 2999, and everything after it would be late.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

# How far ahead of the clock a message may be dated, unless the job says something else.
MAX_FUTURE_S = 3_600.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def event_time(
    attributes: Mapping[str, str], name: str | None, published_at: datetime, max_future_s: float = MAX_FUTURE_S
) -> datetime:
    """Return the time in the attribute `name`, in UTC: RFC 3339, or milliseconds since 1970, as in Beam.

    `published_at` where no attribute is named, or a message has none of that name, or one that is not a time or too far
    ahead: a stream does not stop for it. If that is too far ahead as well (Kafka's producers set it), the time is now.
    """
    published_at = not_ahead(published_at, max_future_s, None)
    value = attributes.get(name, "").strip() if name else ""
    if not value:
        return published_at
    try:
        if value.lstrip("-").isdigit():
            found = datetime.fromtimestamp(int(value) / 1_000, UTC)
        else:
            found = datetime.fromisoformat(value)
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return published_at
    return not_ahead(found, max_future_s, published_at)


def not_ahead(moment: datetime, max_future_s: float, instead: datetime | None) -> datetime:
    """Return a time, or another one instead (now, without one) if it is too far ahead."""
    now = datetime.now(UTC)
    return moment if (moment - now).total_seconds() <= max_future_s else instead or now


def time_of(milliseconds: int) -> datetime:
    """Return the time of milliseconds since 1970 as a server gives them; now, where they are not a time."""
    try:
        return datetime.fromtimestamp(milliseconds / 1_000, UTC) if milliseconds >= 0 else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)
