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


@pytest.mark.parametrize("value", ["2999-01-01T00:00:00Z", "32472144000000", "9999-12-31T23:59:59Z"])
def test_a_time_too_far_ahead_counts_as_none(value: str) -> None:
    assert event_time({"at": value}, "at", NOON) == NOON
    assert event_time({"at": value}, "at", NOON, max_future_s=1e12).year > 2_900


def test_an_hour_ahead_is_allowed() -> None:
    now = datetime.now(UTC)
    for minutes, allowed in ((59, True), (61, False)):
        ahead = now + timedelta(minutes=minutes)
        assert (event_time({"at": ahead.isoformat()}, "at", NOON) == ahead) is allowed
        assert (event_time({"at": ahead.isoformat()}, "at", NOON, max_future_s=7_200) == ahead) is True


def test_where_all_times_are_too_far_ahead_it_is_now() -> None:
    """Kafka's producers set the time of publishing, too."""
    ahead = datetime(2999, 1, 1, tzinfo=UTC)
    for found in (event_time({}, None, ahead), event_time({"at": "2999-01-01"}, "at", ahead)):
        assert abs(found - datetime.now(UTC)) < timedelta(minutes=1)


def test_milliseconds_of_a_server() -> None:
    assert time_of(1_767_323_045_000) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for odd in (-1, -(2**63), 10**15, 2**63 - 1):
        assert abs(time_of(odd) - datetime.now(UTC)) < timedelta(minutes=1)
