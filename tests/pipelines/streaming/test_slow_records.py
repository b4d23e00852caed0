"""Slow records of a stream: documents, URLs and long texts hold up nobody but themselves."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from classer_core.cached import CachedEngine
from classer_core.engine import Engine
from classer_core.records import Answer
from tests import documents
from tests.fakes import CountingModel
from tests.memory_queue import Server
from tests.pipelines.streaming.reading import WAIT_S, Readers, ids, take, until


class Hanging(ThreadingHTTPServer):
    """Answers with a document once `go` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        self.go = threading.Event()
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/a.pdf"


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Hanging)
        self.server.go.wait(WAIT_S)
        body = documents.pdf("a billing matter")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    running = Hanging()
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield running
    running.go.set()
    running.shutdown()
    running.server_close()


def test_a_url_that_hangs_delays_its_own_record_alone(readers: Readers, server: Server, hanging: Hanging) -> None:
    server.publish(*({"id": f"slow{number}", "file": hanging.url} for number in range(5)))
    server.publish(*({"id": f"r{number}", "text": "sales"} for number in range(100)))
    reader = readers(allow_hosts=["127.0.0.1"], allow_http=True)
    found = take(reader, 100)
    assert sorted(ids(found)) == sorted(f"r{number}" for number in range(100))
    mark = reader.get_checkpoint_mark()
    mark.finalize_checkpoint()
    until(lambda: sorted(server.acknowledged) == list(range(5, 105)))
    hanging.go.set()
    slow = take(reader, 5, start=False)
    assert sorted(ids(slow)) == [f"slow{number}" for number in range(5)]
    known = {known.source_id: known.answer for chunk in slow for known in chunk.known.values()}
    assert all(isinstance(answer, Answer) and answer.label == "billing" for answer in known.values())


def test_hundreds_of_urls_that_hang_delay_nobody_else(readers: Readers, server: Server, hanging: Hanging) -> None:
    server.publish(*({"file": hanging.url} for _ in range(500)))
    server.publish({"id": "fast", "text": "sales", "priority": "fast"}, {"id": "standard", "text": "sales"})
    found = take(readers(allow_hosts=["127.0.0.1"], allow_http=True), 2)
    assert ids(found) == ["fast", "standard"]


def test_what_is_given_back_waits_for_no_url(readers: Readers, server: Server, hanging: Hanging) -> None:
    server.publish({"id": "slow", "file": hanging.url})
    reader = readers(allow_hosts=["127.0.0.1"], allow_http=True)
    assert not reader.start()
    until(lambda: server.out)
    reader.close()
    until(lambda: server.given_back == [0])


def test_prepared_records_are_not_read_again(readers: Readers, server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(documents.pdf("a billing matter"))
    engine = CachedEngine(Engine(CountingModel()))
    long_text = "billing " * 10_000
    server.publish(
        {"id": "document", "file": "a.pdf", "cache": False},
        {"id": "long", "text": long_text},
        {"id": "absent", "file": "b.pdf"},
        {"id": "damaged", "file": "data:application/pdf;base64,aGVsbG8="},
        {"id": "fast", "file": "a.pdf", "priority": "fast"},
    )
    reader = readers(load=lambda: engine, allow_paths=["."])
    chunks = take(reader, 5)
    read = len(CountingModel.texts)
    outcomes = {outcome.id: outcome for chunk in chunks for outcome in engine.classify(chunk.records, chunk.known)} | {
        failure.id: failure for chunk in chunks for failure in chunk.failures
    }
    assert len(CountingModel.texts) == read, "the model was asked again"
    assert outcomes["document"].label == outcomes["long"].label == outcomes["fast"].label == "billing"
    assert (outcomes["document"].cached, outcomes["long"].cached) == (False, False)
    assert outcomes["long"].latency_ms > 0
    assert (outcomes["absent"].stage, outcomes["absent"].code) == ("fetch", "content_not_found")
    assert "b.pdf" in outcomes["absent"].record
    assert (outcomes["damaged"].stage, outcomes["damaged"].code) == ("expand", "document_unsupported")
    fast = next(chunk for chunk in chunks if "fast" in ids([chunk]))
    assert ids([fast]) == ["fast"]


def test_a_model_that_is_broken_ends_the_reader(readers: Readers, server: Server, tmp_path: Path) -> None:
    def broken() -> CachedEngine:
        raise MemoryError("no room for the model")

    (tmp_path / "a.pdf").write_bytes(documents.pdf("x"))
    server.publish({"file": "a.pdf"})
    reader = readers(load=broken, allow_paths=["."])
    with pytest.raises(MemoryError, match="no room"):
        take(reader, 1)
