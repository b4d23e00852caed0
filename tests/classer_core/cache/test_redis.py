"""A real Redis server: kept, forgotten, gone and back again; its password is nowhere."""

import logging
import time
from collections.abc import Iterator

import pytest

from classer_core import Classifier, Engine, Record, Result
from classer_core.cache import open_cache
from classer_core.cache.guarded import GuardedCache
from classer_core.cached import CachedEngine
from tests.fakes import CountingModel
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.integration

KEYS = [bytes([n]) * 20 for n in range(50)]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def test_entries_are_kept_for_other_processes_and_a_while(server: RedisServer) -> None:
    entries = {key: key[:1] * 100 for key in KEYS}
    first, second = open_cache(server.url), open_cache(f"{server.url}?ttl_days=0.00002")
    assert first is not None and second is not None
    first.put(entries)
    assert second.get([*KEYS, b"unknown"]) == entries
    second.put({KEYS[0]: b"short-lived"})
    assert first.get(KEYS[:1]) == {KEYS[0]: b"short-lived"}
    deadline = time.monotonic() + 20
    while first.get(KEYS[:1]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert first.get(KEYS[:2]) == {KEYS[1]: entries[KEYS[1]]}
    first.close()
    second.close()


def test_a_batch_is_one_round_trip_each_way(server: RedisServer) -> None:
    from redis import Redis

    cache = open_cache(server.url)
    watch = Redis.from_url(server.url)
    assert cache is not None
    cache.get(KEYS)
    before = watch.info("commandstats")
    cache.get(KEYS)
    cache.put(dict.fromkeys(KEYS, b"x"))
    after = watch.info("commandstats")

    def calls(stats: dict[str, dict[str, int]], name: str) -> int:
        return stats.get(f"cmdstat_{name}", {}).get("calls", 0)

    assert calls(after, "mget") - calls(before, "mget") == 1
    assert calls(after, "set") - calls(before, "set") == len(KEYS)
    cache.close()
    watch.close()


def test_workers_of_a_cluster_share_answers(server: RedisServer) -> None:
    CountingModel.texts = []
    records = [Record(str(n), f"sales {n}", Classifier.of(["billing", "sales"])) for n in range(100)]
    first = CachedEngine(Engine(CountingModel()), open_cache(server.url))
    before = first.classify(records)
    first.close()
    second = CachedEngine(Engine(CountingModel()), open_cache(server.url))
    after = second.classify(records)
    second.close()
    assert len(CountingModel.texts) == 100
    assert [one.label for one in after if isinstance(one, Result) and one.cached] == ["sales"] * 100
    assert [one.fingerprint for one in after if isinstance(one, Result)] == [
        one.fingerprint for one in before if isinstance(one, Result)
    ]


def test_a_server_that_goes_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        with RedisServer() as server:
            opened = open_cache(server.url)
            assert opened is not None
            cache = GuardedCache(opened, pause_s=0)
            cache.put({KEYS[0]: b"first"})
            cache.flush()
            assert cache.get(KEYS) == {KEYS[0]: b"first"}
        assert cache.get(KEYS) == {}
        cache.put({KEYS[0]: b"lost"})
        cache.flush()
        assert cache.take_errors() == 2
        with RedisServer(server.port):
            cache.put({KEYS[1]: b"again"})
            cache.flush()
            assert cache.get(KEYS) == {KEYS[1]: b"again"}
            assert cache.take_errors() == 0
        cache.close()
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("classer")]
    assert len(messages) == 2 and f"127.0.0.1:{server.port}" in messages[0]
    assert not any(server.password in record.getMessage() for record in caplog.records)


def test_a_wrong_password_is_reported_and_not_shown(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    opened = open_cache(f"redis://user:wr0ng-secret@127.0.0.1:{server.port}/0")
    assert opened is not None
    cache = GuardedCache(opened)
    assert cache.get(KEYS) == {}
    assert cache.take_errors() == 1
    [record] = caplog.records
    assert "AuthenticationError" in record.getMessage()
    assert "wr0ng-secret" not in record.getMessage() + repr(opened) + str(opened)
