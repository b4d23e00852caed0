"""Convert what Kafka clients give, ours or Beam's, to our messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.queues import Message
from pipelines.queues.event_time import MAX_FUTURE_S, event_time, time_of

if TYPE_CHECKING:
    import confluent_kafka


def message_of(
    place: tuple[str, int, int],
    value: bytes | None,
    key: bytes | str | None,
    attributes: Mapping[str, str],
    milliseconds: int,
    timestamp_attribute: str | None,
    max_future_s: float = MAX_FUTURE_S,
) -> Message:
    """Return what a Kafka client gives, ours or Beam's, as one of our messages.

    Args:
        place: topic, partition and offset.
        value: the body.
        key: of the message.
        attributes: its headers.
        milliseconds: since 1970; below 0 where the message has no time.
        timestamp_attribute: the header that holds the event time.
        max_future_s: how far ahead of the clock a time may be.
    """
    topic, partition, offset = place
    return Message(
        id=f"{topic}/{partition}@{offset}",
        data=value or b"",
        published_at=event_time(attributes, timestamp_attribute, time_of(milliseconds), max_future_s),
        receipt=(partition, offset),
        key=None if key is None else text_of(key),
        attributes=attributes,
    )


def place_of(message: confluent_kafka.Message) -> tuple[str, int, int]:
    """Return the topic, the partition and the offset of a message that was received."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None and offset is not None
    return topic, partition, offset


def attributes_of(message: confluent_kafka.Message) -> dict[str, str]:
    """Return the headers of a message; none of them where a name is not UTF-8, which the library can't give."""
    try:
        headers: Any = message.headers() or ()
        return {name: text_of(value) for name, value in headers}
    except (SystemError, UnicodeDecodeError):
        return {}


def text_of(value: bytes | str | None) -> str:
    """A key or a header as text; bytes that are not UTF-8 are escaped."""
    return value if isinstance(value, str) else (value or b"").decode(errors="backslashreplace")
