"""Rows as messages of topics, on a real Kafka broker and Google's Pub/Sub emulator."""

import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from classer_core.errors import JobError
from pipelines.job import Job, parse_job
from pipelines.outputs.topics import KafkaOutput, PubSubOutput
from pipelines.queues import Message, Queue
from pipelines.queues.kafka import KafkaQueueSettings
from pipelines.queues.kafka_cluster import KafkaCluster
from pipelines.queues.pubsub import PubSubQueueSettings
from pipelines.queues.topics import OutgoingMessage
from runners.local import run_job
from tests import fakes
from tests.servers.kafka import KafkaBroker
from tests.servers.pubsub import PROJECT, PubSubEmulator

pytestmark = pytest.mark.integration

WAIT_SECONDS = 60
LABELS = ["billing", "sales"]


class Place:
    """A topic of one of the two kinds, and what reads it again."""

    def __init__(self, output: dict[str, Any], reader: Any, too_large: int) -> None:
        self.output = output
        self.too_large = too_large
        self._reader = reader

    @property
    def section(self) -> Any:
        kind = PubSubOutput if self.output["format"] == "pubsub" else KafkaOutput
        return kind.model_validate(self.output)

    def messages(self, count: int) -> list[Message]:
        queue: Queue = self._reader.open(None)
        found: list[Message] = []
        end = time.monotonic() + WAIT_SECONDS
        while len(found) < count and time.monotonic() < end:
            found += queue.poll(0.5, 1_000)
        found += queue.poll(0.5, 1_000)
        queue.acknowledge([message.receipt for message in found])
        queue.close()
        assert len(found) == count
        return found


@pytest.fixture
def kafka_place(kafka: KafkaBroker) -> Callable[[], Place]:
    def place() -> Place:
        topic = kafka.create_topic(f"answers-{uuid.uuid4().hex[:8]}")
        output = {"format": "kafka", "bootstrap_servers": kafka.bootstrap_servers, "topic": topic}
        return Place(output, KafkaQueueSettings(KafkaCluster(kafka.bootstrap_servers), topic, "reader"), 1_000_000)

    return place


@pytest.fixture
def pubsub_place(pubsub: PubSubEmulator) -> Callable[[], Place]:
    def place() -> Place:
        topic = pubsub.create_topic(f"answers-{uuid.uuid4().hex[:8]}")
        subscription = pubsub.create_subscription(topic.rpartition("/")[2], topic)
        return Place({"format": "pubsub", "topic": topic}, PubSubQueueSettings(subscription), 10_000_000)

    return place


@pytest.fixture(params=["kafka_place", "pubsub_place"])
def new_place(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_messages_carry_id_time_key_and_attributes(new_place: Callable[[], Place]) -> None:
    place = new_place()
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    topic = place.section.settings().open()
    for number in range(100):
        topic.send(OutgoingMessage(str(number).encode(), f"r{number}", at, "c1", {"lang": "de", "goog": "x" * 2_000}))
    assert topic.wait() == []
    topic.close()
    messages = place.messages(100)
    assert sorted(int(message.data) for message in messages) == list(range(100))
    first = messages[0]
    assert (first.attributes["id"], first.attributes["lang"]) == (f"r{first.data.decode()}", "de")
    assert datetime.fromisoformat(first.attributes["event_time"]) == at
    if place.output["format"] == "kafka":
        assert (first.key, first.published_at) == ("c1", at)


def test_only_what_is_refused_is_not_there(new_place: Callable[[], Place]) -> None:
    place = new_place()
    topic = place.section.settings().open()
    for number in range(20):
        data = b"x" * place.too_large if number in (3, 19) else b"ok"
        topic.send(OutgoingMessage(data, f"r{number}"))
    assert [refused.message.id for refused in topic.wait()] == ["r3", "r19"]
    assert topic.wait() == []
    topic.close()
    ids = {message.attributes["id"] for message in place.messages(18)}
    assert ids == {f"r{number}" for number in range(20) if number not in (3, 19)}


def test_a_neighbour_that_pubsub_refuses_takes_nobody_along(pubsub_place: Callable[[], Place]) -> None:
    place = pubsub_place()
    topic = place.section.settings().open()
    for number in range(10):
        topic.send(OutgoingMessage(b"ok", f"r{number}", attributes={"": ""} if number != 4 else {}))
    topic.send(OutgoingMessage(b"", ""))  # neither data nor attributes is an error of the server's
    refused = topic.wait()
    topic.close()
    place.messages(11 - len(refused))


def job_in(folder: Path, source: dict[str, Any], output: dict[str, Any], failures: dict[str, Any]) -> Job:
    document = {"source": source, "labels": LABELS, "output": output, "failures": failures}
    return parse_job(document, folder / "job.yaml")


def write_source(folder: Path, records: list[dict[str, Any]]) -> dict[str, Any]:
    (folder / "in.ndjson").write_text("".join(json.dumps(record) + "\n" for record in records))
    return {"format": "ndjson", "path": "in.ndjson"}


def test_a_batch_job_writes_to_topics_and_no_row_is_lost(new_place: Callable[[], Place], tmp_path: Path) -> None:
    results, failures = new_place(), new_place()
    records = [{"id": f"r{n}", "text": f"{LABELS[n % 2]} {n}", "note": "n" * 10} for n in range(50)]
    records[7]["note"] = "n" * results.too_large
    records[9]["text"] = ""
    job = job_in(tmp_path, write_source(tmp_path, records), results.output, failures.output)
    summary = run_job(job, tmp_path, load=fakes.load)
    assert (summary.records, summary.results, summary.failures) == (50, 48, {"row_refused": 1, "text_empty": 1})
    rows = {row["id"]: row for row in (json.loads(message.data) for message in results.messages(48))}
    assert rows.keys() == {record["id"] for record in records} - {"r7", "r9"}
    assert (rows["r4"]["label"], rows["r4"]["note"]) == ("billing", "n" * 10)
    failed = {row["id"]: row for row in (json.loads(message.data) for message in failures.messages(2))}
    assert (failed["r7"]["code"], failed["r7"]["stage"]) == ("row_refused", "write")
    assert json.loads(failed["r7"]["record"])["label"] == "sales"
    assert failed["r9"]["code"] == "text_empty"


def test_refused_rows_go_to_files_of_failures_too(kafka_place: Callable[[], Place], tmp_path: Path) -> None:
    results = kafka_place()
    records = [{"id": "r0", "text": "sales", "note": "n" * results.too_large}, {"id": "r1", "text": "billing"}]
    failures = {"path": str(tmp_path / "failures")}
    run_job(job_in(tmp_path, write_source(tmp_path, records), results.output, failures), tmp_path, load=fakes.load)
    assert [message.attributes["id"] for message in results.messages(1)] == ["r1"]
    assert pq.read_table(tmp_path / "failures").column("code").to_pylist() == ["row_refused"]


def test_a_failure_that_is_too_large_is_sent_with_less_of_its_record(
    kafka_place: Callable[[], Place], tmp_path: Path
) -> None:
    results, failures = kafka_place(), kafka_place()
    records = [{"id": "r0", "text": "", **{f"note{n}": "n" * 90_000 for n in range(20)}}]
    run_job(
        job_in(tmp_path, write_source(tmp_path, records), results.output, failures.output), tmp_path, load=fakes.load
    )
    row = json.loads(failures.messages(1)[0].data)
    assert (row["id"], row["code"]) == ("r0", "text_empty")
    assert row["record"].endswith("characters]")


def test_a_topic_that_is_not_there_is_said_before_anything_runs(
    kafka: KafkaBroker, pubsub: PubSubEmulator, tmp_path: Path
) -> None:
    source = write_source(tmp_path, [{"id": "r0", "text": "sales"}])
    for output in (
        {"format": "kafka", "bootstrap_servers": kafka.bootstrap_servers, "topic": "nosuchtopic"},
        {"format": "pubsub", "topic": f"projects/{PROJECT}/topics/nosuchtopic"},
    ):
        with pytest.raises(JobError, match="nosuchtopic"):
            run_job(job_in(tmp_path, source, output, {"path": "failures"}), tmp_path, load=fakes.load)
