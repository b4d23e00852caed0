"""When a message happened, whatever its attribute or its server says."""

from datetime import UTC, datetime, timedelta

import pytest

from pipelines.queues.event_time import event_time, time_of
from tests.memory_queue import NOON


@pytest.mark.parametrize(
    "value", ["2026-01-02T03:04:05Z", "2026-01-02T05:04:05+02:00", "2026-01-02T03:04:05", " 1767323045000 "]
)
def test_an_attribute_says_when(value: str) -> None:
    assert event_time({"at": value}, "at", NOON) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "value", ["", "yesterday", "9" * 30, "9" * 5_000, "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"]
)
def test_what_is_no_time_is_passed_over(value: str) -> None:
    assert event_time({"at": value}, "at", NOON) == NOON
    assert event_time({"at": value}, None, NOON) == NOON


def test_milliseconds_of_a_server() -> None:
    assert time_of(1_767_323_045_000) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for odd in (-1, -(2**63), 10**15, 2**63 - 1):
        assert abs(time_of(odd) - datetime.now(UTC)) < timedelta(minutes=1)
