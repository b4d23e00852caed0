"""Headers of Kafka's messages, as the library gives them."""

from typing import Any

from confluent_kafka import Message

from pipelines.queues.kafka_message import attributes_of


class Latin1Named(Message):  # type: ignore[misc]
    """What the library does with a header whose name is not UTF-8, which it lets nobody send."""

    def headers(self) -> Any:
        raise SystemError("returned a result with an exception set") from UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "")


def test_headers_are_texts() -> None:
    assert attributes_of(Message(headers=[("lang", b"de"), ("raw", b"\xff"), ("none", None)])) == {
        "lang": "de",
        "raw": "\\xff",
        "none": "",
    }
    assert attributes_of(Message()) == {}


def test_headers_that_the_library_can_not_give_are_none() -> None:
    assert attributes_of(Latin1Named()) == {}
