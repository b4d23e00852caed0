"""The reader of a stream, without Beam: what it emits, when, and what becomes of each message."""

import gc
import os
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from pipelines.graph import stream_of
from pipelines.job import parse_job
from pipelines.streaming import polling, stopping
from pipelines.streaming.source import QueueMark, QueueReader, QueueSource
from tests import documents
from tests.memory_queue import NOON, MemoryQueue, MemoryQueueSettings, Server
from tests.pipelines.streaming.reading import WAIT_S, Readers, ids, load, take, until


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


def test_one_message_of_the_future_does_not_hold_the_watermark(tmp_path: Path) -> None:
    """A file that is dated 2999, and one of today."""
    source = {"format": "documents", "path": "inbox/*.pdf", "watch": "100ms"}
    job = parse_job({"source": source, "labels": ["a", "b"], "output": {"path": "out"}}, tmp_path / "job.yaml")
    (tmp_path / "inbox").mkdir()
    for name, moment in (("a", 32_472_144_000), ("b", time.time())):
        (tmp_path / "inbox" / f"{name}.pdf").write_bytes(documents.pdf(name))
        os.utime(tmp_path / "inbox" / f"{name}.pdf", (moment, moment))
    stream = stream_of(job, job.source.find_columns(job.selection), str(tmp_path), load, 60.0)
    reader = QueueSource(stream, job.source.queue(str(tmp_path), job.folders)).create_reader(None, None)
    assert isinstance(reader, QueueReader)
    take(reader, 2)
    assert reader.get_watermark() <= Timestamp.now()
    reader.close()
