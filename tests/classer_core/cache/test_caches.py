"""Caches keep what they are given, within their bounds; trouble is counted and costs no answer."""

import hashlib
import logging
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from classer_core.cache import open_cache, parse_cache_url
from classer_core.cache.entries import from_entry, to_entry
from classer_core.cache.guarded import GuardedCache
from classer_core.cache.memory import MemoryCache
from classer_core.cache.sqlite import SqliteCache
from classer_core.records import Answer, LabelConfidence

DAY_S = 86_400
SINGLE = Answer("billing", None, 0.9876, 17, None, "fake", 1.0, None)
MULTI = Answer(None, [LabelConfidence("é", 0.7), LabelConfidence("b", 0.6)], 0.7, 9, 50, "a+b", 0.8, "page 3")


def key(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()[:20]


def sqlite(folder: Path, ttl_s: int = DAY_S, max_bytes: int = 1 << 30) -> SqliteCache:
    return SqliteCache(folder / "deep" / "answers.sqlite", ttl_s, max_bytes)


@pytest.mark.parametrize("answer", [SINGLE, MULTI, Answer(None, [], None, 1, None, "m", 1.0)])
def test_an_answer_comes_back_as_it_was_or_not_at_all(answer: Answer) -> None:
    entry = to_entry(key(1), answer)
    assert from_entry(key(1), entry) == answer
    assert from_entry(key(2), entry) is None  # another record's
    for place in range(len(entry)):
        assert from_entry(key(1), entry[:place]) is None
        assert from_entry(key(1), entry[:place] + bytes([entry[place] ^ 1]) + entry[place + 1 :]) is None


def test_sqlite_keeps_entries_for_other_processes_of_this_user(tmp_path: Path) -> None:
    entries = {key(n): b"%d" % n for n in range(2_500)}
    sqlite(tmp_path).put(entries)
    other = sqlite(tmp_path)
    assert other.get([*entries, key(9_999)]) == entries
    other.put({key(3): b"newer"})
    assert sqlite(tmp_path).get([key(3), key(4)]) == {key(3): b"newer", key(4): b"4"}
    assert (tmp_path / "deep" / "answers.sqlite").stat().st_mode & 0o077 == 0
    assert other.statistics().entries == 2_500
    assert [path.name for path in (tmp_path / "deep").iterdir() if path.is_dir()] == []


def test_sqlite_forgets_what_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite(tmp_path).put({key(1): b"old"})
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + DAY_S + 1)
    cache = sqlite(tmp_path)
    assert cache.get([key(1)]) == {}
    cache.put({key(2): b"new"})  # the first write of a process looks after the bounds
    assert cache.get([key(1), key(2)]) == {key(2): b"new"}
    assert cache.statistics().entries == 1


def test_sqlite_stays_within_its_size_and_forgets_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classer_core.cache.sqlite.ENTRIES_BETWEEN_SWEEPS", 2_000)
    monkeypatch.setattr("classer_core.cache.sqlite.ROWS_FORGOTTEN_TOGETHER", 500)
    limit = 1 << 20
    cache = sqlite(tmp_path, max_bytes=limit)
    for start in range(0, 20_000, 1_000):
        cache.put({key(n): bytes(100) for n in range(start, start + 1_000)})
        assert cache.statistics().bytes < limit + 2_000 * 400
    kept = [n for n in range(20_000) if cache.get([key(n)])]
    oldest_batch = kept[0] // 1_000 * 1_000  # of which some are left
    assert set(kept) >= set(range(oldest_batch + 1_000, 20_000))
    assert 2_000 < len(kept) < 12_000


def test_memory_forgets_what_was_not_used_lately() -> None:
    cache = MemoryCache(max_entries=100)
    for number in range(1_000):
        cache.put({key(number): b"x"})
        assert cache.get([key(0)]) == {key(0): b"x"}
    assert set(cache.get([key(n) for n in range(960, 1_000)])) == {key(n) for n in range(960, 1_000)}
    assert cache.get([key(1)]) == {}
    assert len(cache.get([key(n) for n in range(1_000)])) <= 100


@pytest.mark.parametrize("content", [b"this is no database, it only has its name" * 100, b""])
def test_a_damaged_file_is_reported_counted_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_bytes(content)
    cache = GuardedCache(SqliteCache(path, DAY_S, 1 << 20), pause_s=60)
    with caplog.at_level(logging.WARNING):
        assert cache.get([key(1)]) == {}
        assert cache.get([key(1)]) == {}  # in its pause nobody asks it
    assert cache.take_errors() == 1
    assert cache.take_errors() == 0
    [message] = [record.getMessage() for record in caplog.records]
    assert str(path) in message and "Records are classified without the cache" in message
    assert path.read_bytes() == content


def test_other_peoples_databases_are_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "important.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(sqlite3.DatabaseError, match="the file is not a cache of answers"):
        SqliteCache(path, DAY_S, 1 << 20).put({key(1): b"x"})
    assert path.read_bytes() == before


def test_a_cache_that_is_well_again_is_used_again(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file where the folder should be")
    cache = GuardedCache(sqlite(tmp_path), pause_s=0)
    cache.put({key(1): b"lost"})
    cache.flush()
    (tmp_path / "deep").unlink()
    cache.put({key(2): b"kept"})
    cache.flush()
    assert cache.get([key(1), key(2)]) == {key(2): b"kept"}
    assert cache.take_errors() == 1


def test_a_slow_cache_does_not_hold_up_who_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def __init__(self) -> None:
            self.go_on = threading.Event()
            self.kept: dict[bytes, bytes] = {}

        def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
            return {}

        def put(self, entries: Mapping[bytes, bytes]) -> None:
            self.go_on.wait(60)
            self.kept.update(entries)

        def close(self) -> None:
            pass

    monkeypatch.setattr("classer_core.cache.guarded.MAX_WAITING", 3)
    monkeypatch.setattr("classer_core.cache.guarded.MAX_WAIT_S", 0.01)
    slow = Slow()
    cache = GuardedCache(slow)
    for number in range(20):
        cache.put({key(number): b"x"})
    assert cache.take_errors() > 10  # dropped, and said so
    slow.go_on.set()
    cache.close()
    assert 1 <= len(slow.kept) < 10


def _hammer(path: str, seed: int) -> None:
    """Writes and reads for ever; leaves a file behind if it ever reads something wrong."""
    cache = GuardedCache(SqliteCache(Path(path), DAY_S, 1 << 22), pause_s=0)
    turn = seed
    while True:
        turn += 1
        numbers = [turn * 7 % 5_000 + n for n in range(200)]
        answers = {key(n): Answer("label", None, 0.5, n, None, "fake", 1.0) for n in numbers}
        cache.put({print_: to_entry(print_, answer) for print_, answer in answers.items()})
        for print_, entry in cache.get(answers).items():
            if from_entry(print_, entry) != answers[print_]:
                Path(path).with_suffix(".wrong").touch()
        if cache.take_errors():
            Path(path).with_suffix(".errors").touch()


def test_processes_that_are_killed_leave_a_whole_cache(tmp_path: Path) -> None:
    """The short form of the benchmark that does this for 30 s with 8 processes."""
    path = tmp_path / "answers.sqlite"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_hammer, args=(str(path), seed), daemon=True) for seed in range(3)]
    for process in processes:
        process.start()
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in processes:
        time.sleep(0.7)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    assert not path.with_suffix(".wrong").exists()
    assert not path.with_suffix(".errors").exists()
    cache = SqliteCache(path, DAY_S, 1 << 22)
    entries = cache.get([key(n) for n in range(5_200)])
    assert entries
    assert all(from_entry(print_, entry) is not None for print_, entry in entries.items())
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_urls() -> None:
    assert parse_cache_url("none") is None
    relative, absolute = parse_cache_url("sqlite:///a/b.sqlite"), parse_cache_url("sqlite:////a/b.sqlite?ttl_days=0.5")
    assert relative is not None and absolute is not None
    assert (relative.address, absolute.address, absolute.ttl_s) == ("a/b.sqlite", "/a/b.sqlite", 43_200)
    server = parse_cache_url("rediss://user:hunter2@host:6380/2?ttl_days=7")
    assert server is not None
    assert (server.address, server.ttl_s) == ("rediss://user:hunter2@host:6380/2", 7 * DAY_S)
    assert "hunter2" not in repr(server) + str(open_cache("redis://:hunter2@host"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgres://u:hunter2@h/x", "a cache must be sqlite:///path, redis://host:port/db, or none"),
        ("sqlite://hunter2/x", "sqlite: needs a path"),
        ("sqlite:///", "sqlite: needs a path"),
        ("redis://:hunter2@/0", "redis: needs a host"),
        ("redis://:hunter2@h?ttl=3", "ttl: unknown setting of a cache"),
        ("sqlite:///a?ttl_days=hunter2", "ttl_days must be a number above 0"),
        ("sqlite:///a?max_mb=0", "max_mb must be a number above 0"),
        ("/a/b.sqlite", "a cache must be"),
    ],
)
def test_wrong_urls_are_named_without_what_they_hold(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_cache_url(url)
    assert "hunter2" not in str(caught.value)
