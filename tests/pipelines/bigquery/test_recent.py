"""What a table has got in its last hour, however much that is."""

import time

import pyarrow as pa
import pytest

from pipelines.bigquery.names import TableName
from pipelines.bigquery.recent import KEPT_S, RecentRows

TABLE = TableName("p", "d", "t")


def rows(first: int, end: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"id": [str(number) for number in range(first, end)]})


def test_the_bound_is_time_and_not_a_number_of_rows() -> None:
    """100 rows a second for an hour."""
    recent = RecentRows(TABLE, ["id"])
    for first in range(0, 360_000, 40_000):
        recent.sent("s", rows(first, first + 40_000))
        recent.committed("s")
    assert len(recent.new(rows(0, 1_000))) == 0
    assert recent.new(rows(359_990, 360_010)).column("id").to_pylist() == [str(n) for n in range(360_000, 360_010)]


def test_rows_are_forgotten_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    recent, now = RecentRows(TABLE, ["id"]), time.time()
    for minute in range(0, 90, 10):
        monkeypatch.setattr(time, "time", lambda minute=minute: now + minute * 60)
        recent.sent("s", rows(minute, minute + 10))
        recent.committed("s")
    assert len(recent.new(rows(0, 90))) == 20
    [kept] = recent._rows.execute("SELECT count(*) FROM rows").fetchone()
    assert kept == 70 and KEPT_S == 3_600


def test_only_committed_rows_count() -> None:
    recent = RecentRows(TABLE, ["id"])
    recent.sent("s", rows(0, 10))
    assert len(recent.new(rows(0, 10))) == 10
    recent.committed("other")
    assert len(recent.new(rows(0, 10))) == 10
    recent.committed("s")
    assert len(recent.new(rows(0, 11))) == 1
