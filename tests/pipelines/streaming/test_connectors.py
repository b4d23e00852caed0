"""Beam's own connectors, against real servers: what comes out of them is what our queues make of the same messages."""

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pyarrow.dataset as ds
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.subprocess_server import JavaJarServer

from pipelines.graph import build
from pipelines.job import Job, parse_job
from pipelines.queues import Message
from pipelines.queues.kafka import KafkaQueueSettings
from pipelines.queues.kafka_cluster import KafkaCluster
from pipelines.streaming.connectors import message_of_kafka
from runners.dry_run import dry_run
from tests.pipelines.streaming.reading import load as load_cached
from tests.servers.expansion import ExpansionService
from tests.servers.kafka import KafkaBroker
from tests.servers.pubsub import PubSubEmulator

LABELS = ["billing", "sales"]
WAIT_SECONDS = 60


def job_in(folder: Path, source: dict[str, Any]) -> Job:
    document = {"source": source, "labels": LABELS, "output": {"path": "out"}}
    return parse_job(document, folder / "job.yaml")


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    if not any(folder.rglob("part-*")):
        return {}
    found = ds.dataset(folder, format="parquet", partitioning="hive").to_table().to_pylist()
    return {row["id"]: row for row in found}


@pytest.mark.integration
def test_pubsub_by_way_of_beams_connector(pubsub: PubSubEmulator, tmp_path: Path) -> None:
    """The graph that Dataflow gets, on the one local runner that has this connector, though without id labels."""
    topic = pubsub.create_topic("connector")
    subscription = pubsub.create_subscription("connector", topic)
    publisher = pubsub.publisher()
    at = "2026-01-02T03:04:05Z"
    for number in range(20):
        text = f"{LABELS[number % 2]} {number}".encode()
        publisher.publish(topic, text, uid=f"u{number}", at=at, lang="de").result(60)
    publisher.publish(topic, b'{"text": ""}', uid="bad", at=at).result(60)
    names = {"columns": {"id": "uid"}, "timestamp_attribute": "at"}
    job = job_in(tmp_path, {"format": "pubsub", "subscription": subscription, **names})
    pipeline = beam.Pipeline("BundleBasedDirectRunner", PipelineOptions(["--streaming"]))
    build(pipeline, job, job.source.find_columns(job.selection), "run", str(tmp_path), load_cached, readers=None)
    result = pipeline.run()
    end = time.monotonic() + WAIT_SECONDS
    while len(rows(tmp_path / "out")) < 20 or not rows(tmp_path / "out-failures"):
        assert time.monotonic() < end
        time.sleep(0.2)
    result.cancel()
    found = rows(tmp_path / "out")
    assert found.keys() == {f"u{number}" for number in range(20)}
    row = found["u3"]
    assert (row["label"], row["event_time"].isoformat(), row["hour"]) == ("sales", "2026-01-02T03:04:05+00:00", 3)
    assert json.loads(row["attributes"]) == {"uid": "u3", "at": at, "lang": "de"}
    assert rows(tmp_path / "out-failures").keys() == {"bad"}


def test_a_kafka_message_may_have_headers_without_values_and_no_real_time() -> None:
    row = SimpleNamespace(topic="t", partition=1, offset=7, key=None, value=b"hello")
    row.headers = [SimpleNamespace(key="none", value=None), SimpleNamespace(key="lang", value=b"de")]
    for milliseconds in (-1, 2**62, 10**15):
        row.timestamp = milliseconds
        message = message_of_kafka(row, None)
        assert abs(message.published_at - datetime.now(UTC)) < timedelta(minutes=1)
        assert (message.id, message.attributes) == ("t/1@7", {"none": "", "lang": "de"})


@pytest.fixture(scope="module")
def expansion() -> Iterator[ExpansionService]:
    with ExpansionService() as service:
        yield service


RECEIVED: list[Message] = []


def receive(message: Message) -> None:
    RECEIVED.append(message)


@pytest.mark.integration
def test_kafka_by_way_of_beams_connector(kafka: KafkaBroker, expansion: ExpansionService) -> None:
    """KafkaIO itself, in Java, with a number of messages after which it ends."""
    import confluent_kafka
    from apache_beam.io.kafka import ReadFromKafka

    topic = kafka.create_topic(f"connector-{uuid.uuid4().hex[:8]}", 2)
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for number in range(20):
        headers = [("lang", b"de"), ("raw", b"\xff")] if number else None
        key = b"c1" if number else None
        producer.produce(topic, f"text {number}".encode(), key, partition=number % 2, headers=headers)
    assert producer.flush(60) == 0
    read = ReadFromKafka(
        {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "beam", "auto.offset.reset": "earliest"},
        [topic],
        with_metadata=True,
        max_num_records=20,
        expansion_service=f"localhost:{expansion.port}",
    )
    RECEIVED.clear()
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = pipeline | read | beam.Map(message_of_kafka, None) | beam.Map(receive)
    queue = KafkaQueueSettings(KafkaCluster(kafka.bootstrap_servers), topic, "ours").open(None)
    ours: list[Message] = []
    while len(ours) < 20:
        ours += queue.poll(5, 100)
    queue.close()

    def by_id(messages: list[Message]) -> dict[str, tuple[Any, ...]]:
        return {m.id: (m.data, m.published_at, m.key, dict(m.attributes)) for m in messages}

    assert by_id(RECEIVED) == by_id(ours)


@pytest.mark.integration
def test_dataflow_gets_kafka_io(expansion: ExpansionService, tmp_path: Path) -> None:
    servers = {"format": "kafka", "bootstrap_servers": "broker:9092"}
    job = job_in(tmp_path, {**servers, "topic": "tickets", "group": "classer"})
    with JavaJarServer.beam_services(expansion.services):
        graph = dry_run(job, tmp_path, "dataflow")
    names = [transform.unique_name for transform in graph.pipeline.components.transforms.values()]
    assert any("KafkaIO.Read" in name for name in names)
    assert any("KafkaCommitOffset" in name for name in names)
    assert len(graph.images) == 2  # of Java's worker and ours
