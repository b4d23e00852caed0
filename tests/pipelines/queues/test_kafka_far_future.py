"""Messages of Kafka that are dated far ahead."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.queues import Message
from pipelines.queues.kafka import KafkaQueueSettings
from pipelines.queues.kafka_cluster import KafkaCluster
from tests.pipelines.queues.reading import take
from tests.servers.kafka import KafkaBroker

pytestmark = pytest.mark.integration


def read(settings: KafkaQueueSettings) -> list[Message]:
    queue = settings.open(None)
    messages = take(queue, 2)
    queue.close()
    return messages


def test_a_message_of_2999_has_the_time_of_its_arrival(kafka: KafkaBroker) -> None:
    """Whether a header says so, or the producer, which sets Kafka's own time of a message."""
    from confluent_kafka import Producer

    before, ahead = datetime.now(UTC), datetime(2999, 1, 1, tzinfo=UTC)
    lenient = {"message.timestamp.after.max.ms": str(2**63 - 1)}  # brokers before 3.6, and those that are told to
    topic = kafka.create_topic(f"lenient-{uuid.uuid4().hex}", **lenient)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(topic, b"header", headers={"at": ahead.isoformat().encode()})
    producer.produce(topic, b"producer", timestamp=int(ahead.timestamp() * 1_000))
    assert producer.flush(30) == 0
    timed = KafkaQueueSettings(KafkaCluster(kafka.bootstrap_servers), topic, "timed", timestamp_attribute="at")
    for message in read(timed):
        assert before - timedelta(seconds=1) <= message.published_at <= datetime.now(UTC)
    allowed = replace(timed, group="allowed", max_future_s=1e11)
    assert {message.published_at for message in read(allowed)} == {ahead}
