"""The reader of a stream, without Beam: what it emits, when, and what becomes of each message."""

import gc
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from apache_beam.utils.timestamp import MAX_TIMESTAMP

from classer_core.cached import CachedEngine
from classer_core.engine import Engine
from classer_core.records import Answer
from pipelines.chunks import Chunk
from pipelines.job import parse_job
from pipelines.streaming import polling, stopping
from pipelines.streaming.parsing import stream_columns
from pipelines.streaming.source import QueueMark, QueueReader, QueueSource, Stream
from tests import documents
from tests.fakes import CountingModel, FakeModel
from tests.memory_queue import NOON, MemoryQueue, MemoryQueueSettings, Server
from tests.pipelines.streaming.test_parsing import QUEUE

WAIT_S = 20.0


def load() -> CachedEngine:
    return CachedEngine(Engine(FakeModel()))


@pytest.fixture
def server() -> Server:
    return Server("test")


class Readers:
    """Makes readers, and closes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.made: list[QueueReader] = []

    def __call__(
        self, bundle_s: float = 60.0, load: Callable[[], CachedEngine] = load, settings: Any = None, **more: Any
    ) -> QueueReader:
        document = {"source": {**QUEUE, **more.pop("source", {})}, "labels": ["billing", "sales"], **more}
        job = parse_job({**document, "output": {"path": "out"}}, self._folder / "job.yaml")
        stream = Stream(job, stream_columns(job), str(self._folder), load, bundle_s)
        reader = QueueSource(stream, settings or MemoryQueueSettings("test")).create_reader(None, None)
        assert isinstance(reader, QueueReader)
        self.made.append(reader)
        return reader


@pytest.fixture
def readers(tmp_path: Path, server: Server) -> Iterator[Readers]:
    made = Readers(tmp_path)
    yield made
    for reader in made.made:
        reader.close()
        reader._poller.written(1_000)  # else it waits for that


def until(condition: Callable[[], Any], wait_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.01)


def take(reader: QueueReader, records: int, start: bool = True) -> list[Chunk]:
    """Chunks, until there are so many records or failures."""
    chunks: list[Chunk] = []
    deadline = time.monotonic() + WAIT_S
    while sum(len(chunk) + len(chunk.failures) for chunk in chunks) < records:
        assert time.monotonic() < deadline, chunks
        if reader.start() if start else reader.advance():
            chunks.append(reader.get_current())
        start = False
    return chunks


def ids(chunks: list[Chunk]) -> list[str]:
    return [record.id for chunk in chunks for record in chunk.records]


def test_messages_are_acknowledged_once_their_bundle_is_written(readers: Readers, server: Server) -> None:
    server.publish(*({"text": f"billing {number}"} for number in range(5)))
    reader = readers()
    assert ids(take(reader, 5)) == ["m0", "m1", "m2", "m3", "m4"]
    mark = reader.get_checkpoint_mark()
    server.publish({"text": "one more"})
    take(reader, 1, start=False)
    time.sleep(0.3)
    assert not server.acknowledged
    mark.finalize_checkpoint()
    until(lambda: sorted(server.acknowledged) == [0, 1, 2, 3, 4])
    reader.get_checkpoint_mark().finalize_checkpoint()
    until(lambda: server.acknowledged[-1] == 5)


def test_a_later_mark_stands_for_those_before_it(readers: Readers, server: Server) -> None:
    reader = readers()
    server.publish({"text": "one"})
    take(reader, 1)
    reader.get_checkpoint_mark()
    server.publish({"text": "two"})
    take(reader, 1, start=False)
    reader.get_checkpoint_mark().finalize_checkpoint()
    until(lambda: sorted(server.acknowledged) == [0, 1])


def test_marks_travel_and_acknowledge_nothing_elsewhere(readers: Readers, server: Server) -> None:
    server.publish({"text": "one"})
    reader = readers()
    take(reader, 1)
    source = QueueSource(reader._stream, MemoryQueueSettings("test"))
    coder = source.get_checkpoint_mark_coder()
    mark = coder.decode(coder.encode(reader.get_checkpoint_mark()))
    QueueMark("another process", mark.number, None).finalize_checkpoint()
    time.sleep(0.2)
    assert not server.acknowledged
    mark.finalize_checkpoint()
    until(lambda: server.acknowledged == [0])


def test_beam_finds_a_reader_by_bytes_that_stay_the_same(readers: Readers, server: Server) -> None:
    server.publish({"text": "one"})
    reader = readers(load=load, passthrough=["".join(["bill", "ing"])])
    take(reader, 1)
    source, mark = QueueSource(reader._stream, MemoryQueueSettings("test")), reader.get_checkpoint_mark()
    for thing in (source, mark, QueueMark("r", 1, {"".join(["r"]): ("r", "r")})):
        first = again = pickle.dumps(thing)
        for _ in range(3):
            again = pickle.dumps(pickle.loads(again))
            assert again == first


def test_closing_gives_back_what_no_bundle_has(readers: Readers, server: Server) -> None:
    server.publish({"text": "written"})
    reader = readers(bundle_s=1.0)
    take(reader, 1)
    mark = reader.get_checkpoint_mark()
    server.publish({"text": "taken, but its bundle failed"})
    take(reader, 1, start=False)
    server.publish(*({"text": str(number)} for number in range(10)))
    until(lambda: not server.waiting)
    reader.close()
    until(lambda: sorted(server.given_back) == list(range(1, 12)))
    mark.finalize_checkpoint()  # returns when the queue knows
    assert server.acknowledged == [0]


def test_a_stop_ends_the_stream_and_gives_back_the_rest(readers: Readers, server: Server) -> None:
    server.publish(*({"text": str(number)} for number in range(3_000)))
    reader = readers()
    [chunk] = take(reader, 1)
    with stopping.stopped_by_signals():
        stopping.stop()
        assert not reader.advance()
        assert reader.get_watermark() == MAX_TIMESTAMP
        mark = reader.get_checkpoint_mark()
        reader.close()
        mark.finalize_checkpoint()
    reader._poller.join(WAIT_S)
    assert sorted(server.acknowledged) == list(range(len(chunk)))
    assert len(server.waiting) == 3_000 - len(chunk)


def test_a_quiet_stream_ends_if_the_job_says_so(readers: Readers, server: Server) -> None:
    server.publish({"text": "one"})
    reader = readers(source={"stop_when_idle": "300ms"})
    take(reader, 1)
    began = time.monotonic()
    while reader.get_watermark() != MAX_TIMESTAMP:
        assert not reader.advance()
        assert time.monotonic() - began < WAIT_S
    assert not readers(source={"stop_when_idle": 300}).start()


def test_a_bundle_ends_by_time_and_by_number(readers: Readers, server: Server) -> None:
    reader = readers(bundle_s=0.5)
    server.publish({"text": "one"})
    take(reader, 1)
    assert not reader.advance()
    reader.get_checkpoint_mark().finalize_checkpoint()
    reader.close()
    reader._poller.join(WAIT_S)
    few = readers(settings=MemoryQueueSettings("test", bundle_records=10))
    server.publish(*({"text": str(number)} for number in range(10)))
    take(few, 10)
    server.publish({"text": "of the next bundle"})
    assert not few.advance()


def test_the_buffer_is_bounded_by_number(readers: Readers, server: Server) -> None:
    server.publish(*({"text": str(number)} for number in range(20_000)))
    reader = readers()
    reader.start()
    until(lambda: reader._poller._lanes.records >= polling.BUFFER_RECORDS)
    polls = server.polls
    time.sleep(1.5)
    assert len(server.out) <= polling.BUFFER_RECORDS + 1_024
    assert server.polls > polls  # the queue hears of its reader, who takes nothing
    assert len(take(reader, 1, start=False)) == 1


def test_the_buffer_is_bounded_by_bytes(readers: Readers, server: Server) -> None:
    body = b"x" * (1 << 20)
    server.publish(*([body] * 300))
    reader = readers()
    reader.start()
    until(lambda: reader._poller._room() == 0)
    time.sleep(0.3)
    assert len(server.out) * len(body) <= 2.5 * polling.BUFFER_BYTES


def test_errors_of_the_queue_end_the_reader(readers: Readers, server: Server) -> None:
    class Broken(MemoryQueueSettings):
        def open(self, position: Any) -> MemoryQueue:
            raise OSError("the server is gone")

    with pytest.raises(OSError, match="the server is gone"):
        readers(settings=Broken("test")).start()


def test_a_stream_ends_though_its_queue_can_take_nothing_back(
    readers: Readers, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: Any) -> None:
        monkeypatch.undo()
        raise OSError("the server is gone")

    stopping._end.clear()
    server.publish({"text": "one"})
    reader = readers(source={"stop_when_idle": "100ms"})
    take(reader, 1)
    monkeypatch.setattr(MemoryQueue, "give_back", gone)
    until(lambda: not reader.advance() and reader.get_watermark() == MAX_TIMESTAMP)
    reader.close()
    reader._poller.join(WAIT_S)
    assert "the server is gone" in caplog.text
    assert stopping.has_end()


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


def test_redelivery_and_readers_leave_nothing_behind(readers: Readers, server: Server) -> None:
    before = threading.active_count()
    reader = readers()
    server.publish({"text": "one"})
    take(reader, 1)
    reader.get_checkpoint_mark().finalize_checkpoint()
    reader.close()
    reader._poller.join(WAIT_S)
    name = reader._poller.name
    readers.made.clear()
    del reader
    gc.collect()
    until(lambda: threading.active_count() <= before)
    assert polling.poller(name) is None


def test_hours_of_event_time_make_chunks_of_their_own(readers: Readers, server: Server) -> None:
    server.publish({"text": "noon"})
    server.publish({"text": "eleven"}, at=NOON.replace(hour=11))
    server.publish({"text": "noon again"}, at=NOON.replace(minute=59))
    reader = readers()
    chunks = {}
    reader.start()
    for _ in range(3):
        if reader._entries:
            chunks[reader.get_current_timestamp().to_utc_datetime().hour] = len(reader.get_current())
        reader.get_checkpoint_mark()
        reader.advance()
    assert chunks.keys() == {11, 12}
