"""The files of a stream: whole ones only, by hour, each id once."""

import os
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from apache_beam.utils.timestamp import Timestamp

from classer_core import storage
from pipelines.writers import published, streams
from pipelines.writers.published import PublishedIds, digest_of
from pipelines.writers.streams import WritePartitions, partition_of

NOON = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int64())])


class Writer:
    """Writes bundles as a worker does; it can be killed at any moment."""

    def __init__(self, path: Path, format: str = "parquet", folders: tuple[str, ...] | None = None) -> None:
        self.fn = WritePartitions(str(path), format, SCHEMA, folders or (str(path),))
        self.fn.setup()
        self.fn.start_bundle()

    def write(self, ids: Iterable[Any], at: datetime = NOON) -> "Writer":
        names = [str(id_) for id_ in ids]
        batch = pa.RecordBatch.from_pydict({"id": names, "n": list(range(len(names)))}, schema=SCHEMA)
        self.fn.process(batch, Timestamp.from_utc_datetime(at))
        return self

    def end(self) -> None:
        self.fn.finish_bundle()
        self.fn.start_bundle()


def rows(path: Path, format: str = "parquet") -> list[dict[str, Any]]:
    table = ds.dataset(path, format="json" if format == "ndjson" else format, partitioning="hive").to_table()
    return sorted(table.to_pylist(), key=lambda row: row["id"])


@pytest.mark.parametrize("format", ["parquet", "ndjson"])
def test_a_bundle_gives_one_whole_file_an_hour(tmp_path: Path, format: str) -> None:
    writer = Writer(tmp_path / "out", format).write("ab").write("c", NOON + timedelta(hours=2)).write("d")
    assert not list(tmp_path.rglob("part-*"))
    writer.end()
    files = [str(path.parent.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("part-*"))]
    assert files == ["out/date=2026-11-24/hour=12", "out/date=2026-11-24/hour=14"]
    assert [(row["id"], row["hour"]) for row in rows(tmp_path / "out", format)] == [
        ("a", 12),
        ("b", 12),
        ("c", 14),
        ("d", 12),
    ]
    writer.write("e").end()
    writer.end()
    assert len(list(tmp_path.rglob("part-*"))) == 3
    writer.fn.teardown()
    assert not list((tmp_path / "out" / "_temporary").iterdir())


def test_hours_are_of_utc() -> None:
    assert partition_of(datetime.fromisoformat("2026-11-25T00:30:00+02:00")) == "date=2026-11-24/hour=22"
    assert partition_of(datetime(2026, 1, 2, 3, tzinfo=UTC)) == "date=2026-01-02/hour=03"


def test_an_id_is_written_once_an_hour(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "out").write("aba").write("bc")
    writer.end()
    writer.write("cd").write("a", NOON + timedelta(hours=1)).end()
    assert [(row["id"], row["hour"]) for row in rows(tmp_path / "out")] == [
        ("a", 12),
        ("a", 13),
        ("b", 12),
        ("c", 12),
        ("d", 12),
    ]


@pytest.mark.parametrize("format", ["parquet", "ndjson"])
def test_published_files_are_remembered_by_the_next_process(tmp_path: Path, format: str) -> None:
    Writer(tmp_path / "out", format).write(range(2_500)).end()
    assert published._shared.find((str(tmp_path / "out"),)) is None
    again = Writer(tmp_path / "out", format).write(range(2_400, 2_600))
    again.end()
    assert len(rows(tmp_path / "out", format)) == 2_600


def test_a_bundle_that_failed_or_was_killed_leaves_nothing(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "out").write("ab")
    writer.fn.start_bundle()  # tried again, in the same process
    writer.write("abc").end()
    killed = Writer(tmp_path / "out").write("de")
    Writer(tmp_path / "out").write("de").end()
    killed.fn.start_bundle()
    assert [row["id"] for row in rows(tmp_path / "out")] == list("abcde")


def test_killed_while_publishing_each_row_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two files can't be published; the bundle is tried again, here or elsewhere."""
    writer = Writer(tmp_path / "out").write("ab").write("cd", NOON + timedelta(hours=1))
    asked = []

    def second_fails(moves: list[tuple[str, str]]) -> None:
        asked.append(moves)
        if len(asked) == 2:
            raise OSError("disk full")
        storage.move(moves)

    monkeypatch.setattr(streams, "move", second_fails)
    with pytest.raises(OSError, match="disk full"):
        writer.fn.finish_bundle()
    writer.fn.start_bundle()
    writer.write("ab").write("cd", NOON + timedelta(hours=1)).end()
    assert [(row["id"], row["hour"]) for row in rows(tmp_path / "out")] == [("a", 12), ("b", 12), ("c", 13), ("d", 13)]


def test_an_id_is_in_the_results_or_in_the_failures(tmp_path: Path) -> None:
    folders = (str(tmp_path / "out"), str(tmp_path / "out-failures"))
    Writer(tmp_path / "out-failures", folders=folders).write("a").end()
    Writer(tmp_path / "out", folders=folders).write("ab").end()
    assert [row["id"] for row in rows(tmp_path / "out")] == ["b"]


def test_many_hours_at_once_are_few_open_files(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "out")
    for round_ in range(2):
        for hour in range(40):
            writer.write([f"{round_}-{hour}"], NOON + timedelta(hours=hour))
            assert len(writer.fn._open) <= streams.OPEN_FILES
    writer.end()
    assert len(rows(tmp_path / "out")) == 80


def test_ids_of_few_hours_are_kept_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "PARTITIONS_KEPT", 2)
    writer = Writer(tmp_path / "out")
    for hour in range(5):
        writer.write("ab", NOON + timedelta(hours=hour)).end()
    ids = writer.fn._ids
    assert isinstance(ids, PublishedIds) and len(ids._partitions) == 2
    [(kept,)] = ids._table.execute("SELECT count(*) FROM ids")
    assert kept == 4
    writer.write("abc").end()
    assert [row["id"] for row in rows(tmp_path / "out") if row["hour"] == 12] == ["a", "b", "c"]


def test_ids_are_looked_up_by_several_threads(tmp_path: Path) -> None:
    ids = PublishedIds((str(tmp_path),))

    def add(first: int) -> None:
        for number in range(first, first + 500):
            ids.add("p", [digest_of(str(number))], f"{number}")
            assert ids.known("p", [digest_of(str(number))])

    threads = [threading.Thread(target=add, args=(start,)) for start in range(0, 2_000, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids.known("p", [digest_of(str(number)) for number in range(3_000)])) == 2_000


def test_what_killed_processes_left_goes_after_a_day(tmp_path: Path) -> None:
    left = tmp_path / "out" / "_temporary" / "of-a-dead-process"
    left.mkdir(parents=True)
    for name, age_s in (("old", streams.STALE_S + 60), ("young", 60)):
        (left / name).write_bytes(b"half a file")
        os.utime(left / name, (time.time() - age_s,) * 2)
    Writer(tmp_path / "out").write("a").end()
    assert [path.name for path in left.iterdir()] == ["young"]


@pytest.mark.parametrize("format", ["parquet", "ndjson"])
def test_two_bundles_at_once_publish_an_id_once(tmp_path: Path, format: str) -> None:
    """Two readers of one process got the same id: both saw that it was not published when they wrote it."""
    first = Writer(tmp_path / "out", format).write("abc")
    second = Writer(tmp_path / "out", format).write("bcd").write("b", NOON + timedelta(hours=1))
    first.end()
    second.end()
    assert [(row["id"], row["hour"]) for row in rows(tmp_path / "out", format)] == [
        ("a", 12),
        ("b", 12),
        ("b", 13),
        ("c", 12),
        ("d", 12),
    ]
    third, fourth = (Writer(tmp_path / "out", format).write("xy") for _ in range(2))
    third.end()
    fourth.end()  # nothing is left of its file
    assert len(rows(tmp_path / "out", format)) == 7
    for writer in (first, second, third, fourth):
        writer.fn.teardown()
    assert not list((tmp_path / "out" / "_temporary").iterdir())


def test_results_and_failures_of_two_bundles_at_once_share_their_ids(tmp_path: Path) -> None:
    folders = (str(tmp_path / "out"), str(tmp_path / "out-failures"))
    results = Writer(tmp_path / "out", folders=folders).write("ab")
    failures = Writer(tmp_path / "out-failures", folders=folders).write("bc")
    results.end()
    failures.end()
    assert [row["id"] for row in rows(tmp_path / "out")] == ["a", "b"]
    assert [row["id"] for row in rows(tmp_path / "out-failures")] == ["c"]


def test_many_threads_publish_each_id_once(tmp_path: Path) -> None:
    """Each thread writes all ids, in bundles that overlap with those of the others."""
    start = threading.Barrier(4)

    def work(step: int) -> None:
        writer = Writer(tmp_path / "out", "ndjson")
        start.wait(30)
        for first in range(0, 200, step):
            writer.write(range(first, first + step)).end()

    threads = [threading.Thread(target=work, args=(step,)) for step in (10, 20, 25, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(row["id"]) for row in rows(tmp_path / "out", "ndjson")) == list(range(200))


def test_what_another_process_has_published_is_seen_before_publishing(tmp_path: Path) -> None:
    """As after a failure of one of two workers: the partitions of one are read by the other from now on."""
    here, elsewhere = Writer(tmp_path / "out"), Writer(tmp_path / "out")
    elsewhere.fn._ids = PublishedIds((str(tmp_path / "out"),))  # as in a process of its own
    here.write("a").end()
    elsewhere.write("bc").end()
    here.write("cd").end()
    elsewhere.write("ad").end()
    assert [row["id"] for row in rows(tmp_path / "out")] == list("abcd")


@pytest.mark.parametrize(
    ("name", "content"),
    [("part-x.parquet", b"junk"), ("part-x.ndjson", b"{broken\n"), ("part-x.ndjson", b'{"id": 7}\n')],
)
def test_a_file_whose_ids_can_not_be_read_ends_the_stream(tmp_path: Path, name: str, content: bytes) -> None:
    folder = tmp_path / "out" / partition_of(NOON)
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    with pytest.raises(RuntimeError, match=f"{name}: its ids can't be read: .*Move it out of the output"):
        Writer(tmp_path / "out").write("a")
