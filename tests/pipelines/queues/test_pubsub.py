"""The Pub/Sub queue against Google's emulator."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from classer_core.errors import JobError
from pipelines.queues import Message
from pipelines.queues import pubsub as pubsub_queue
from pipelines.queues.pubsub import PubSubQueue, PubSubQueueSettings
from tests.pipelines.queues import reading
from tests.pipelines.queues.reading import read_and_kill, texts
from tests.servers.pubsub import PROJECT, PubSubEmulator

pytestmark = pytest.mark.integration

WAIT_SECONDS = 60
Open = Callable[..., PubSubQueue]
take = partial(reading.take, wait_s=WAIT_SECONDS)  # the emulator takes its time


@pytest.fixture
def topic(pubsub: PubSubEmulator) -> str:
    return pubsub.create_topic(f"tickets-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def settings(pubsub: PubSubEmulator, topic: str) -> PubSubQueueSettings:
    return PubSubQueueSettings(pubsub.create_subscription(topic.rpartition("/")[2], topic))


@pytest.fixture
def opened(settings: PubSubQueueSettings) -> Iterator[Open]:
    queues = []

    def open_queue(settings: PubSubQueueSettings = settings) -> PubSubQueue:
        queue = settings.open(None)
        assert isinstance(queue, PubSubQueue)
        queues.append(queue)
        return queue

    yield open_queue
    for queue in queues:
        queue.close()


@pytest.fixture
def publish(pubsub: PubSubEmulator, topic: str) -> Callable[..., list[str]]:
    from google.cloud.pubsub_v1.types import PublisherOptions

    publisher = pubsub.publisher(publisher_options=PublisherOptions(enable_message_ordering=True))

    def send(values: list[Any], **attributes: str) -> list[str]:
        data = [value if isinstance(value, bytes) else str(value).encode() for value in values]
        futures = [publisher.publish(topic, value, **attributes) for value in data]
        return [future.result(WAIT_SECONDS) for future in futures]

    return send


def test_a_message_comes_as_it_is(publish: Any, opened: Open) -> None:
    before = datetime.now(UTC)
    (id_,) = publish(["Grüße"], lang="de", ordering_key="c1")
    (message,) = take(opened(), 1)
    assert (message.id, message.data.decode(), message.key) == (id_, "Grüße", "c1")
    assert message.attributes == {"lang": "de"}
    assert abs((message.published_at - before).total_seconds()) < 10


def test_messages_of_one_key_stay_in_their_order(
    pubsub: PubSubEmulator, publish: Any, topic: str, opened: Open
) -> None:
    name = f"{topic.rpartition('/')[2]}-ordered"
    ordered = PubSubQueueSettings(pubsub.create_subscription(name, topic, enable_message_ordering=True))
    publish(range(300), ordering_key="c1")
    queue = opened(ordered)
    found: list[Message] = []
    while len(found) < 300:
        new = queue.poll(5, 100)
        assert new
        queue.acknowledge([message.receipt for message in new])
        found += new
    assert texts(found) == [str(number) for number in range(300)]


def test_an_attribute_may_hold_the_event_time(publish: Any, opened: Open, settings: PubSubQueueSettings) -> None:
    publish(["x"], at="2026-01-02T04:04:05.5+01:00")
    publish(["y"], at="now")
    found = take(opened(PubSubQueueSettings(settings.subscription, timestamp_attribute="at")), 2)
    times = {message.data: message.published_at for message in found}
    assert times[b"x"] == datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)
    assert times[b"y"].year == datetime.now(UTC).year


def test_a_message_of_2999_has_the_time_of_its_publishing(
    publish: Any, opened: Open, settings: PubSubQueueSettings
) -> None:
    before = datetime.now(UTC)
    publish(["x"], at="2999-01-01T00:00:00Z")
    [message] = take(opened(PubSubQueueSettings(settings.subscription, timestamp_attribute="at")), 1)
    assert before - timedelta(seconds=1) <= message.published_at <= datetime.now(UTC)


def test_hostile_messages_are_messages(publish: Any, opened: Open) -> None:
    hostile = [b"\xff\xfe\x00", b"{" * 10_000, b" ", b"x" * 9_000_000]
    publish(hostile, note="\u202e\ud7ff")
    publish([b""], empty="yes")
    assert sorted(message.data for message in take(opened(), 5)) == sorted([*hostile, b""])


def test_what_is_acknowledged_never_comes_again_and_the_rest_does(publish: Any, opened: Open) -> None:
    publish(range(100))
    queue = opened()
    messages = take(queue, 100)
    queue.acknowledge([message.receipt for message in messages if int(message.data) % 2])
    queue.close()
    queue = opened()
    again = take(queue, 50)
    assert sorted(map(int, texts(again))) == list(range(0, 100, 2))
    queue.acknowledge([message.receipt for message in again])
    queue.close()
    take(opened(), 0, wait_s=12)


def test_what_is_given_back_is_delivered_at_once(publish: Any, opened: Open) -> None:
    publish(range(10))
    queue = opened()
    messages = take(queue, 10)
    given = [message for message in messages if int(message.data) in (3, 7)]
    queue.acknowledge([message.receipt for message in messages if message not in given])
    queue.give_back([message.receipt for message in given])
    assert sorted(texts(take(queue, 2, wait_s=5))) == ["3", "7"]


def test_a_lease_lasts_as_long_as_the_work(pubsub: PubSubEmulator, publish: Any, topic: str, opened: Open) -> None:
    """Leases are of 15 s."""
    publish(["slow"])
    queue = opened()
    (message,) = take(queue, 1)
    assert queue.poll(25, 10) == []
    queue.acknowledge([message.receipt])
    queue.close()
    take(opened(), 0, wait_s=12)


def test_no_more_is_out_than_allowed(publish: Any, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubsub_queue, "OUT_MESSAGES", 50)
    publish(range(400))
    queue = opened()
    out = take(queue, 50, wait_s=10)
    assert queue.poll(1, 1_000) == []
    found = len(out)
    while found < 400:
        queue.acknowledge([message.receipt for message in out])
        out = queue.poll(10, 1_000)
        assert 0 < len(out) <= 50
        found += len(out)


def test_what_is_wrong_with_a_job_is_said_before_anything_is_read(
    pubsub: PubSubEmulator, settings: PubSubQueueSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def problem(subscription: str) -> str:
        with pytest.raises(JobError) as raised:
            PubSubQueueSettings(subscription).check()
        (found,) = raised.value.problems
        return f"{found.place}: {found.message}"

    settings.check()
    missing = f"projects/{PROJECT}/subscriptions/nosuchthing"
    assert problem(missing) == "source.subscription: there is no such subscription"
    monkeypatch.setattr("pipelines.queues.pubsub.ANSWER_S", 2.0)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:9")
    assert problem(missing).startswith("source.subscription: no Pub/Sub answers")
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    assert problem(missing) == "format: there are no credentials of Google Cloud"


def test_a_subscription_that_is_not_there_ends_the_job(opened: Open, pubsub: PubSubEmulator) -> None:
    queue = opened(PubSubQueueSettings(f"projects/{PROJECT}/subscriptions/nosuchthing"))
    with pytest.raises(JobError, match="no such subscription"):
        for _ in range(100):
            queue.poll(0.1, 10)


OPENS = """
from pipelines.queues.pubsub import PubSubQueueSettings
queue = PubSubQueueSettings(sys.argv[1]).open(None)
"""


def test_nothing_is_lost_when_the_reader_is_killed(settings: PubSubQueueSettings, publish: Any, tmp_path: Path) -> None:
    publish(range(3_000))
    found: list[str] = []
    for target in (600, 1_500, 3_000):

        def enough(lines: list[str], target: int = target) -> bool:
            return len(set(lines)) >= target

        found = read_and_kill(OPENS, [settings.subscription], tmp_path / "rows", enough, WAIT_SECONDS)
    assert set(found) == {str(number) for number in range(3_000)}
