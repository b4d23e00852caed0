"""Streams through the whole graph: every message ends as one row, and is acknowledged."""

import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

import pipelines.graph
from classer_core import Classifier, JobError
from classer_core.saved import ClassifierStore
from pipelines.job import parse_job
from pipelines.queues.folder import FolderQueueSettings
from pipelines.sources.queues import KafkaSource, PubSubSource
from pipelines.streaming import stopping
from runners.local import RunSummary, run_job
from tests import documents
from tests.fakes import OPT_IN_FIELDS, POISON, load
from tests.memory_queue import NOON, MemoryQueueSettings, Server
from tests.pipelines.streaming.reading import until
from tests.pipelines.streaming.test_parsing import QUEUE
from tests.pipelines.test_graph import BAD_LINES, LABELS

IDLE = {"stop_when_idle": "500ms"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """The queue that all jobs of a test read, whatever they name."""
    for source in (PubSubSource, KafkaSource):
        monkeypatch.setattr(source, "queue", lambda self, folder, outputs: MemoryQueueSettings("graph"))
    return Server("graph")


def run(folder: Path, source: dict[str, Any] | None = None, **more: Any) -> RunSummary:
    document = {"source": source or {**QUEUE, **IDLE}, "output": {"path": "out", "file_seconds": 1}, **more}
    if "classifier" not in more:
        document.setdefault("labels", LABELS)
    return run_job(parse_job(document, folder / "job.yaml"), folder, load=load)


def rows(folder: Path, name: str = "out") -> list[dict[str, Any]]:
    if not (folder / name).exists():
        return []
    table = ds.dataset(folder / name, format="parquet", partitioning="hive").to_table()
    return sorted(table.to_pylist(), key=lambda row: row["id"])


def test_every_message_ends_as_one_row_and_is_acknowledged(tmp_path: Path, server: Server) -> None:
    """10,000 messages, salted with every kind of bad one, of several hours and both lanes."""
    expected: Counter[str] = Counter()
    for number in range(10_000):
        id_ = f"r{number:05}"
        at = NOON + timedelta(minutes=number % 150)
        if number % 20 == 0:
            line, code = BAD_LINES[number // 20 % len(BAD_LINES)]
            if line.startswith(b"["):
                line, code = POISON.encode(), "model_failed"
            server.publish(line.replace(b'"ID"', json.dumps(id_).encode()), at=at)
            expected[code] += 1
        else:
            priority = "fast" if number % 7 == 0 else "standard"
            server.publish(
                {"id": id_, "text": f"{LABELS[number % 3]} question", "priority": priority, "n": number}, at=at
            )
    summary = run(tmp_path, record_fields=OPT_IN_FIELDS)
    results, failures = rows(tmp_path), rows(tmp_path, "out-failures")
    assert [row["id"] for row in results] == [f"r{number:05}" for number in range(10_000) if number % 20]
    for row in results:
        number = json.loads(row["_rescued_data"])["n"]
        at = NOON + timedelta(minutes=number % 150)
        assert row["label"] == LABELS[number % 3]
        assert (row["event_time"], row["hour"]) == (at, at.hour)
    assert Counter(row["code"] for row in failures) == expected
    assert summary.failures == dict(sorted(expected.items()))
    assert (summary.results, summary.duplicates) == (9_500, 0)
    assert sorted(server.acknowledged) == list(range(10_000))


def test_a_message_that_comes_again_is_dropped(tmp_path: Path, server: Server) -> None:
    bodies = [{"id": f"r{number}", "text": "sales"} for number in range(10)]
    server.publish(*bodies)
    run(tmp_path)
    server.publish(*bodies, {"id": "new", "text": "sales"}, {"id": "bad"})
    again = run(tmp_path)
    server.publish({"id": "bad"})
    third = run(tmp_path)
    assert [row["id"] for row in rows(tmp_path)] == sorted(["new", *(f"r{number}" for number in range(10))])
    assert [row["id"] for row in rows(tmp_path, "out-failures")] == ["bad"]
    assert (again.duplicates, third.duplicates) == (10, 1)
    assert not server.out and not server.waiting


def test_new_versions_of_a_classifier_are_followed(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    store = ClassifierStore(str(tmp_path / "classifiers"))
    store.save("tickets", Classifier(("billing", "sales")))
    server.publish({"id": "first", "text": "billing"})

    def go_on() -> None:
        until(lambda: server.acknowledged == [0])
        store.save("tickets", Classifier(("billing", "technical")))
        until(lambda: "is tickets@v2 from now on" in caplog.text)
        server.publish({"id": "second", "text": "technical"})
        until(lambda: len(rows(tmp_path)) == 2)
        stopping.stop()

    follower = threading.Thread(target=go_on)
    follower.start()
    with caplog.at_level(logging.WARNING):
        run(tmp_path, QUEUE, classifier="tickets", refresh="50ms")
    follower.join()
    assert [(row["id"], row["classifier"], row["label"]) for row in rows(tmp_path)] == [
        ("first", "tickets@v1", "billing"),
        ("second", "tickets@v2", "technical"),
    ]


def test_a_stopped_stream_writes_what_it_has_begun(tmp_path: Path, server: Server) -> None:
    """The bundle would last for an hour; what is in it is written, all else given back."""
    server.publish(*({"id": f"r{number}", "text": "sales"} for number in range(50)))

    def stop() -> None:
        until(lambda: len(server.out) == 50)
        time.sleep(0.5)
        stopping.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    summary = run(tmp_path, QUEUE, output={"path": "out", "file_seconds": 3_600})
    stopper.join()
    assert summary.results == len(rows(tmp_path)) == len(server.acknowledged) == 50
    assert not server.out


def test_documents_are_read_as_they_come(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "good.pdf").write_bytes(documents.pdf("a billing matter"))
    (inbox / "empty.pdf").write_bytes(b"")
    source = {"format": "documents", "path": "inbox/**", "watch": "200ms"}

    def bring() -> None:
        until(lambda: rows(tmp_path))
        (inbox / ".new").write_bytes(documents.docx("about sales"))
        os.rename(inbox / ".new", inbox / "new.docx")  # noqa: PTH104
        until(lambda: len(rows(tmp_path)) == 2)
        stopping.stop()

    bringer = threading.Thread(target=bring)
    bringer.start()
    summary = run(tmp_path, source)
    bringer.join()
    assert {row["id"]: row["label"] for row in rows(tmp_path)} == {
        "inbox/good.pdf": "billing",
        "inbox/new.docx": "sales",
    }
    assert [(row["id"], row["code"]) for row in rows(tmp_path, "out-failures")] == [
        ("inbox/empty.pdf", "document_empty")
    ]
    assert (summary.records, summary.duplicates) == (3, 0)
    assert run(tmp_path, {**source, "stop_when_idle": "1s"}).records == 0  # what is published is not read again


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"only": "stale"}, "only"),
        ({"dedup": "global"}, "dedup"),
        ({"max_failure_ratio": 0.5}, "max_failure_ratio"),
        ({"passthrough": ["hour"]}, "passthrough"),
        ({"source": {"format": "documents", "path": "in/**", "watch": 1}, "output": {"path": "in/out"}}, "source.path"),
        ({"source": {"format": "documents", "path": "in/*", "watch": 9, "stop_when_idle": 10}}, "source"),
        ({"source": {"format": "ndjson", "path": "in/*", "watch": 9}}, "source"),
        ({"source": {**QUEUE, "stop_when_idle": "soon"}}, "source.stop_when_idle"),
    ],
)
def test_what_a_stream_can_not_do_is_said_before_it_starts(tmp_path: Path, more: dict[str, Any], place: str) -> None:
    document = {"source": QUEUE, "labels": LABELS, "output": {"path": "out"}, **more}
    with pytest.raises(JobError) as raised:
        parse_job(document, tmp_path / "job.yaml")
    assert place in [problem.place.partition(": ")[2] for problem in raised.value.problems]


def test_what_looks_at_a_whole_source_refuses_a_stream(tmp_path: Path) -> None:
    from pipelines.sample import records_of, sample_records

    job = parse_job({"source": QUEUE, "labels": LABELS, "output": {"path": "out"}}, tmp_path / "job.yaml")
    for look in (
        lambda: sample_records(job, str(tmp_path), 10),
        lambda: records_of(job, str(tmp_path), ["1"]),
        lambda: run_job(job, tmp_path, load=load, only=frozenset(["1"])),
    ):
        with pytest.raises(JobError, match="is a stream, which has no end"):
            look()


def test_bundles_leave_flink_time_for_its_checkpoints(tmp_path: Path) -> None:
    document = {"source": QUEUE, "labels": LABELS, "output": {"path": "out", "file_seconds": 3_600}}
    job = parse_job(document, tmp_path / "job.yaml")
    found = [
        pipelines.graph.bundle_seconds(job.output.bundle_s, runner) for runner in ("FlinkRunner", "DirectRunner", None)
    ]
    assert found == [300, 3_600, 3_600]


def test_settings_of_a_watched_folder_know_both_outputs(tmp_path: Path) -> None:
    source = {"format": "documents", "path": "inbox/**", "watch": "30s"}
    job = parse_job({"source": source, "labels": LABELS, "output": {"path": "out"}}, tmp_path / "job.yaml")
    assert job.source.queue(str(tmp_path), job.folders) == FolderQueueSettings(
        (f"{tmp_path}/inbox/**",), 30.0, str(tmp_path), (f"{tmp_path}/out", f"{tmp_path}/out-failures")
    )


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """No test leaves the process stopping."""
    yield
    assert not stopping.is_stopping()
