"""Streaming jobs as processes, against real servers: stopped, killed, and started again."""

import json
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.pipelines.streaming.reading import until
from tests.runners.killed_streams import PARTITIONS, kill_and_continue
from tests.runners.stream_job import END_S, LABELS, StreamJob, kafka_source
from tests.servers.kafka import KafkaBroker
from tests.servers.pubsub import PubSubEmulator

pytestmark = pytest.mark.integration


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


def test_killed_at_random_moments_each_row_is_there_once(kafka: KafkaBroker, tmp_path: Path) -> None:
    """`python -m tests.runners.killed_streams` does it 20 times."""
    outcome = kill_and_continue(kafka, tmp_path, kills=3, seed=7)
    assert (outcome.lost, outcome.twice, outcome.damaged) == (0, 0, 0)
    assert outcome.messages == 1_200
    assert committed(kafka, "killed-7-3", PARTITIONS) == 1_200


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
