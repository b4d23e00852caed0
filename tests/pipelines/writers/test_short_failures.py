"""Failure rows that a topic has refused, cut to what it takes."""

import orjson

from classer_core.errors import FailureCode
from classer_core.records import Failure, failures_to_arrow
from pipelines.outputs.publishing import messages_of, shortened


def test_every_long_text_is_cut() -> None:
    long = "ä" * 2_000_000
    failure = Failure(long, "read", FailureCode.TEXT_EMPTY, long, "text", long)
    [message] = messages_of(failures_to_arrow([failure]).to_pylist(), None, from_messages=False)
    short = shortened(message)
    assert len(short.data) + len(short.id.encode()) < 10_000
    row = orjson.loads(short.data)
    assert row["id"] == short.id == f"{'ä' * 1_000}… [2000000 characters]"
    assert row["record"].endswith("characters]") and (row["code"], row["field"]) == ("text_empty", "text")


def test_short_texts_stay() -> None:
    rows = failures_to_arrow([Failure("r1", "read", FailureCode.TEXT_EMPTY, "m")])
    [message] = messages_of(rows.to_pylist(), None, False)
    assert orjson.loads(shortened(message).data) == orjson.loads(message.data)
