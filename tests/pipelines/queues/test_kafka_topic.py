"""What becomes of rows that a Kafka topic refuses, on the cluster that the client library brings along."""

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from pipelines.queues.kafka_cluster import KafkaCluster
from pipelines.queues.kafka_topic import KafkaTopic, KafkaTopicSettings
from pipelines.queues.topics import OutgoingMessage


class Delivered(KafkaTopic):
    """A topic that notes what arrives, and answers for some messages itself."""

    def __init__(self, answers: dict[str, int]) -> None:
        super().__init__(KafkaTopicSettings(KafkaCluster("localhost:1", {"test.mock.num.brokers": "1"}), "t"))
        self.answers = answers
        self.arrived: list[str] = []

    def _arrived(self, message: OutgoingMessage, error: KafkaError | None, place: object) -> None:
        if (code := self.answers.pop(message.id, None)) is not None:
            error = KafkaError(code)
        if error is None:
            self.arrived.append(message.id)
        super()._arrived(message, error, place)


@pytest.fixture
def topic() -> Iterator[Delivered]:
    answers = {"r1": KafkaError.INVALID_TIMESTAMP, "r0": KafkaError._INVALID_DIFFERENT_RECORD}
    made = Delivered(answers | {"r2": KafkaError._INVALID_DIFFERENT_RECORD})
    yield made
    made.close()


def test_a_refused_time_is_one_rows_and_its_neighbours_are_sent_again(topic: Delivered) -> None:
    for number in range(4):
        topic.send(OutgoingMessage(b"row", f"r{number}"))
    assert [refused.message.id for refused in topic.wait()] == ["r1"]
    assert topic.arrived[0] == "r3" and sorted(topic.arrived) == ["r0", "r2", "r3"]
    assert topic.wait() == []
