"""Streaming jobs as processes, against real servers: stopped, killed, and started again."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
import yaml

from tests.pipelines.streaming.reading import until
from tests.servers.kafka import KafkaBroker
from tests.servers.pubsub import PubSubEmulator

pytestmark = pytest.mark.integration
LABELS = ["billing", "sales"]
END_S = 120


class StreamJob:
    """A job of a test: its file, and the rows it has published."""

    def __init__(self, folder: Path, source: dict[str, Any], **more: Any) -> None:
        self.out = folder / "out"
        document = {"source": source, "labels": LABELS, "output": {"path": str(self.out), "file_seconds": 1}, **more}
        self.file = folder / "job.yaml"
        self.file.write_text(yaml.safe_dump(document))

    @contextmanager
    def running(self, *module: str) -> Iterator[subprocess.Popen[str]]:
        """The job as a process, killed at the end if it is still there."""
        command = [sys.executable, "-m", *(module or ("tests.runners.streaming_job",)), str(self.file)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def finish(self) -> str:
        """Runs it until nothing has come for a while; what it says."""
        with self.running() as process:
            said, _ = process.communicate(timeout=END_S)
            assert process.returncode == 0, said
            return said

    def ids(self, name: str = "") -> list[str]:
        """Ids of the published rows."""
        folder = self.out.with_name(self.out.name + name)
        if not any(folder.rglob("part-*")):
            return []
        return ds.dataset(folder, format="parquet", partitioning="hive").to_table(columns=["id"])["id"].to_pylist()


def kafka_source(kafka: KafkaBroker, topic: str, **more: Any) -> dict[str, Any]:
    return {"format": "kafka", "bootstrap_servers": kafka.bootstrap_servers, "topic": topic, "group": topic, **more}


def produce(kafka: KafkaBroker, topic: str, start: int, end: int, per_second: float | None = None) -> None:
    import confluent_kafka

    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for number in range(start, end):
        body = json.dumps({"id": f"r{number}", "text": f"{LABELS[number % 2]} {number}"})
        producer.produce(topic, body.encode(), key=f"k{number}".encode())
        if per_second:
            time.sleep(1 / per_second)
    producer.flush()


def committed(kafka: KafkaBroker, topic: str, partitions: int) -> int:
    """How many messages the group of this name has behind it."""
    import confluent_kafka

    consumer = confluent_kafka.Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": topic})
    places = [confluent_kafka.TopicPartition(topic, number) for number in range(partitions)]
    found = sum(max(0, place.offset) for place in consumer.committed(places, timeout=30))
    consumer.close()
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_job_with_all_it_has_begun_written(
    kafka: KafkaBroker, tmp_path: Path, number: signal.Signals
) -> None:
    topic = kafka.create_topic(f"stopped-{number.name.lower()}", 2)
    produce(kafka, topic, 0, 500)
    job = StreamJob(tmp_path, kafka_source(kafka, topic))
    with job.running("runners.cli", "run") as process:
        until(lambda: job.ids() or process.poll() is not None, END_S)
        produce(kafka, topic, 500, 3_000)
        process.send_signal(number)
        said, _ = process.communicate(timeout=END_S)
    assert process.returncode == 0, said
    assert "tokens read" in said
    written = job.ids()
    assert len(written) == len(set(written)) == committed(kafka, topic, 2)
    StreamJob(tmp_path, kafka_source(kafka, topic, stop_when_idle=2)).finish()
    assert Counter(job.ids()) == Counter(f"r{number}" for number in range(3_000))


def test_killed_again_and_again_each_row_is_there_once(kafka: KafkaBroker, tmp_path: Path) -> None:
    topic = kafka.create_topic("killed", 3)
    job = StreamJob(tmp_path, kafka_source(kafka, topic))
    chance = random.Random(1)
    for start in range(0, 6_000, 1_500):
        before = len(job.ids())
        with job.running() as process:
            publisher = threading.Thread(target=produce, args=(kafka, topic, start, start + 1_500, 500))
            publisher.start()
            until(lambda before=before, process=process: len(job.ids()) > before or process.poll() is not None, END_S)
            time.sleep(chance.uniform(0, 1.5))
            process.kill()
        publisher.join()
    StreamJob(tmp_path, kafka_source(kafka, topic, stop_when_idle=2)).finish()
    assert Counter(job.ids()) == Counter(f"r{number}" for number in range(6_000))
    assert not job.ids("-failures")
    assert committed(kafka, topic, 3) == 6_000


def test_a_killed_subscriber_loses_and_doubles_nothing(pubsub: PubSubEmulator, tmp_path: Path) -> None:
    topic = pubsub.create_topic("killed")
    subscription = pubsub.create_subscription("killed", topic, ack_deadline_seconds=10)
    publisher = pubsub.publisher()
    for number in range(2_000):
        sent = publisher.publish(topic, f"{LABELS[number % 2]} {number}".encode(), uid=f"u{number}")
    sent.result(60)
    source = {"format": "pubsub", "subscription": subscription, "id_attribute": "uid"}
    job = StreamJob(tmp_path, source, record_fields=["priority"])
    with job.running() as process:
        until(lambda: job.ids() or process.poll() is not None, END_S)
        process.kill()
    for number in range(2_000, 2_100):
        sent = publisher.publish(topic, b'{"text": "sales", "priority": "fast"}', uid=f"u{number}")
    publisher.publish(topic, b"{broken", uid="bad")
    sent.result(60)
    StreamJob(
        tmp_path, {**source, "stop_when_idle": 45}, record_fields=["priority"]
    ).finish()  # longer than the leases of the one that was killed
    assert Counter(job.ids()) == Counter(f"u{number}" for number in range(2_100))
    assert job.ids("-failures") == ["bad"]


def test_a_topic_that_is_not_there_is_a_wrong_job(kafka: KafkaBroker, tmp_path: Path) -> None:
    job = StreamJob(tmp_path, kafka_source(kafka, "nowhere"))
    with job.running("runners.cli", "run") as process:
        said, _ = process.communicate(timeout=END_S)
    assert process.returncode == 2 and "nowhere" in said, said
