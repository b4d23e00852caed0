"""The Kafka queue against a real broker."""

import pickle
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from classer_core.errors import JobError
from pipelines.queues import kafka as kafka_queue
from pipelines.queues.kafka import KafkaQueue, KafkaQueueSettings
from pipelines.queues.kafka_cluster import KafkaCluster
from tests.pipelines.queues.reading import read_and_kill, take, texts
from tests.servers.kafka import KafkaBroker

pytestmark = pytest.mark.integration

WAIT_SECONDS = 30
Open = Callable[..., KafkaQueue]


@pytest.fixture
def topic(kafka: KafkaBroker) -> str:
    return kafka.create_topic(f"tickets-{uuid.uuid4().hex[:8]}", partitions=3)


@pytest.fixture
def settings(kafka: KafkaBroker, topic: str) -> KafkaQueueSettings:
    return KafkaQueueSettings(KafkaCluster(kafka.bootstrap_servers), topic, "classer")


@pytest.fixture
def opened(settings: KafkaQueueSettings) -> Iterator[Open]:
    queues = []

    def open_queue(position: Any = None, settings: KafkaQueueSettings = settings) -> KafkaQueue:
        queue = settings.open(pickle.loads(pickle.dumps(position)))
        assert isinstance(queue, KafkaQueue)
        queues.append(queue)
        return queue

    yield open_queue
    for queue in queues:
        queue.close()


@pytest.fixture
def publish(kafka: KafkaBroker, topic: str) -> Iterator[Callable[..., None]]:
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 0, "topic.metadata.refresh.interval.ms": 200}
    )

    def produce(values: list[Any], partition: int = 0, **settings: Any) -> None:
        for value in values:
            data = value if value is None or isinstance(value, bytes) else str(value).encode()
            producer.produce(topic, data, partition=partition, **settings)
        assert producer.flush(WAIT_SECONDS) == 0

    yield produce


def committed(settings: KafkaQueueSettings, partitions: int = 3) -> list[int]:
    consumer = Consumer({"bootstrap.servers": settings.cluster.bootstrap_servers, "group.id": settings.group})
    try:
        places = consumer.committed([TopicPartition(settings.topic, number) for number in range(partitions)])
        return [place.offset for place in places]
    finally:
        consumer.close()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_message_comes_as_it_is_in_the_order_of_its_partition(publish: Any, opened: Open, topic: str) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    publish(range(200), partition=1, key=b"c1", headers=[("lang", b"de"), ("raw", b"\xff"), ("none", None)])
    messages = take(opened(), 200)
    assert texts(messages) == [str(number) for number in range(200)]
    first = messages[0]
    assert (first.id, first.key, first.receipt) == (f"{topic}/1@0", "c1", (1, 0))
    assert first.attributes == {"lang": "de", "raw": "\\xff", "none": ""}
    assert before <= first.published_at <= datetime.now(UTC)


def test_a_header_may_hold_the_event_time(publish: Any, opened: Open, settings: KafkaQueueSettings) -> None:
    for value in (b"2026-01-02T03:04:05Z", b"1767323045000", b"yesterday"):
        publish(["x"], headers=[("at", value)])
    timed = KafkaQueueSettings(settings.cluster, settings.topic, "timed", timestamp_attribute="at")
    found = [message.published_at for message in take(opened(settings=timed), 3)]
    assert found[:2] == [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)] * 2
    assert found[2].year == datetime.now(UTC).year


def test_hostile_messages_are_messages(publish: Any, opened: Open) -> None:
    hostile = [b"", None, b"\xff\xfe\x00", b"{" * 10_000, b"x" * 900_000]
    publish(hostile, key=b"\xff\xff")
    messages = take(opened(), len(hostile))
    assert [message.data for message in messages] == [value or b"" for value in hostile]
    assert messages[0].key == "\\xff\\xff"


def test_acknowledged_in_any_order_it_is_committed_as_far_as_all_is_done(
    publish: Any, opened: Open, settings: KafkaQueueSettings
) -> None:
    publish(range(10))
    queue = opened()
    receipts = [message.receipt for message in take(queue, 10)]
    queue.acknowledge(receipts[5:])
    queue.acknowledge(receipts[:2])
    wait_until(lambda: bool(queue.poll(0.05, 1)) or committed(settings)[0] == 2)
    queue.close()
    again = opened()
    assert texts(take(again, 8)) == [str(number) for number in range(2, 10)]
    again.acknowledge([(0, offset) for offset in range(2, 10)])
    again.close()
    assert committed(settings)[0] == 10
    take(opened(), 0)


def test_closing_commits_what_is_acknowledged(publish: Any, opened: Open, settings: KafkaQueueSettings) -> None:
    publish(range(5), partition=0)
    publish(range(5), partition=2)
    queue = opened()
    queue.acknowledge([message.receipt for message in take(queue, 10)])
    queue.close()
    assert committed(settings)[0::2] == [5, 5]


def test_what_is_given_back_is_delivered_again(publish: Any, opened: Open, settings: KafkaQueueSettings) -> None:
    publish(range(20))
    queue = opened()
    receipts = [message.receipt for message in take(queue, 20)]
    queue.give_back([receipts[3], receipts[7]])
    publish(["new"])
    assert texts(take(queue, 3)) == ["3", "7", "new"]
    queue.acknowledge([*receipts, (0, 20)])
    queue.close()
    assert committed(settings)[0] == 21


def test_a_checkpoint_resumes_with_what_was_not_emitted_whatever_was_committed(
    publish: Any, opened: Open, settings: KafkaQueueSettings
) -> None:
    publish(range(10), partition=0)
    publish(range(100, 105), partition=1)
    queue = opened()
    messages = take(queue, 15)
    emitted = [(0, 0), (0, 1), (0, 5), (1, 0)]
    position = queue.position(emitted)
    queue.acknowledge([message.receipt for message in messages])
    queue.close()
    assert committed(settings)[:2] == [10, 5]
    expected = {m.data for m in messages if m.receipt not in emitted}
    publish([999], partition=2)
    assert {message.data for message in take(opened(position), 12)} == expected | {b"999"}


def test_shares_of_the_partitions_are_disjoint_and_new_partitions_are_noticed(
    kafka: KafkaBroker, publish: Any, opened: Open, settings: KafkaQueueSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_queue, "NEW_PARTITIONS_S", 0.2)
    for partition in range(3):
        publish([partition], partition=partition)
    shares = settings.split(2)
    assert len(shares) == 2
    assert len(settings.split(20)) == 3
    queues = [opened(settings=share) for share in shares]
    assert [sorted(texts(take(queue, count))) for queue, count in zip(queues, (2, 1), strict=True)] == [
        ["0", "2"],
        ["1"],
    ]
    kafka.add_partitions(settings.topic, 5)
    producer_knows = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            publish(["3"], partition=3)
            publish(["4"], partition=4)
            break
        except KafkaException:
            assert time.monotonic() < producer_knows
            time.sleep(0.1)
    assert [texts(take(queue, 1)) for queue in queues] == [["4"], ["3"]]


def test_memory_is_bounded_while_nobody_takes_messages(
    publish: Any, opened: Open, settings: KafkaQueueSettings
) -> None:
    import psutil

    publish([b"x" * 100_000] * 2_000)
    queue = opened()
    take_one = queue.poll(WAIT_SECONDS, 1)
    assert len(take_one) == 1
    before = psutil.Process().memory_info().rss
    for _ in range(30):
        assert queue.poll(0.1, 0) == []
        time.sleep(0.1)
    assert psutil.Process().memory_info().rss - before < 100 << 20


def test_a_broker_that_restarts_is_waited_for(topic: str) -> None:
    with KafkaBroker() as broker:
        broker.create_topic(topic)
        settings = KafkaQueueSettings(KafkaCluster(broker.bootstrap_servers), topic, "classer")
        queue = settings.open(None)
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        producer.produce(topic, b"before")
        producer.flush()
        (message,) = take(queue, 1)  # type: ignore[arg-type]
        broker.kill()
        queue.acknowledge([message.receipt])
        assert queue.poll(2, 10) == []
        broker.start()
        producer.produce(topic, b"after")
        producer.flush()
        assert texts(take(queue, 1)) == ["after"]  # type: ignore[arg-type]
        queue.close()
        assert committed(settings, 1) == [1]


def test_what_is_wrong_with_a_job_is_said_before_anything_is_read(
    kafka: KafkaBroker, settings: KafkaQueueSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def problem(topic: str, servers: str = kafka.bootstrap_servers, **options: str) -> str:
        options = {name.replace("_", "."): value for name, value in options.items()}
        with pytest.raises(JobError) as raised:
            KafkaQueueSettings(KafkaCluster(servers, options), topic, "classer").check()
        (found,) = raised.value.problems
        return f"{found.place}: {found.message}"

    monkeypatch.setattr("pipelines.queues.kafka_cluster.ANSWER_S", 2.0)
    monkeypatch.setenv("SECRET_VALUE", "hunter22")
    settings.check()
    assert problem("nosuchtopic") == f"topic: is not a topic of {kafka.bootstrap_servers}"
    assert problem("no such topic") == "topic: can't be the name of a topic"
    assert problem(settings.topic, "127.0.0.1:9").startswith("bootstrap_servers: no Kafka answers")
    assert "nosuch.option" in problem(settings.topic, nosuch_option="x")
    assert problem(settings.topic, sasl_password="env:NOT_THERE") == "options.sasl.password: there is no such variable"
    assert problem(settings.topic, enable_auto_commit="true").startswith("options.enable.auto.commit: is what the job")
    told = problem(settings.topic, fetch_min_bytes="env:SECRET_VALUE")
    assert "fetch.min.bytes" in told
    assert "hunter22" not in told


def test_options_are_those_of_the_library(kafka: KafkaBroker, publish: Any, topic: str, opened: Open) -> None:
    publish(["old"])
    cluster = KafkaCluster(kafka.bootstrap_servers, {"auto.offset.reset": "latest", "client.id": "me"})
    queue = opened(settings=KafkaQueueSettings(cluster, topic, "late"))
    publish(["new"])
    assert texts(take(queue, 1)) == ["new"]


def test_a_group_that_is_somebody_elses_ends_the_job(
    kafka: KafkaBroker, publish: Any, opened: Open, settings: KafkaQueueSettings
) -> None:
    other = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": settings.group})
    other.subscribe([settings.topic])
    wait_until(lambda: other.poll(0.1) is not None or bool(other.assignment()))
    publish(["x"])
    queue = opened()
    (message,) = take(queue, 1)
    queue.acknowledge([message.receipt])
    with pytest.raises(JobError, match="members that share the topic"):
        for _ in range(100):
            queue.poll(0.1, 10)
    other.close()


OPENS = """
from pipelines.queues.kafka import KafkaQueueSettings
from pipelines.queues.kafka_cluster import KafkaCluster
queue = KafkaQueueSettings(KafkaCluster(sys.argv[1]), sys.argv[2], "killed").open(None)
"""


def test_nothing_is_lost_when_the_reader_is_killed(
    kafka: KafkaBroker, publish: Any, topic: str, tmp_path: Path
) -> None:
    for partition in range(3):
        publish(range(partition, 6_000, 3), partition=partition)
    found: list[str] = []
    for round_ in range(4):
        target = len(found) + 1_000

        def enough(lines: list[str], target: int = target, last: bool = round_ == 3) -> bool:
            return len(set(lines)) == 6_000 if last else len(lines) >= target

        found = read_and_kill(OPENS, [kafka.bootstrap_servers, topic], tmp_path / "rows", enough, WAIT_SECONDS)
    assert set(found) == {str(number) for number in range(6_000)}
    assert len(found) < 6_000 + 3 * 3 * 50  # those of the bundle that was out
