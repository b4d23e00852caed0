"""Whoever writes a message does not choose its answer, neither in its body nor in its headers or attributes."""

from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from tests.pipelines.forged import ANSWER, LABELS, TEXT, attributes, bodies, counted_requests, settings
from tests.runners.test_streams import StreamJob, kafka_source
from tests.servers.kafka import KafkaBroker
from tests.servers.pubsub import PubSubEmulator

pytestmark = pytest.mark.integration


def check_answers(job: StreamJob, messages: int) -> None:
    """Every message was answered with one of the job's labels, by the job's classifier."""
    job.finish()
    found = ds.dataset(job.out, format="parquet", partitioning="hive").to_table(columns=["label", "classifier"])
    assert found["label"].to_pylist() == [ANSWER] * messages
    assert len(set(found["classifier"].to_pylist())) == 1
    assert job.ids("-failures") == []


def test_kafka_messages_do_not_choose(kafka: KafkaBroker, tmp_path: Path) -> None:
    import confluent_kafka
    import orjson

    topic = kafka.create_topic(f"forged-{tmp_path.name}", 1)
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers})
    with counted_requests() as (url, asked):
        forged = attributes(url)
        sent = [(orjson.dumps(body), {}) for body in bodies(url)]
        sent += [(TEXT.encode(), {name: value}) for name, value in forged.items()]
        sent += [(TEXT.encode(), forged), (orjson.dumps({"text": TEXT}), forged)]
        for body, headers in sent:
            producer.produce(topic, body, key=b'{"labels": ["ok"]}', headers=list(headers.items()))
        assert producer.flush(60) == 0
        source = kafka_source(kafka, topic, stop_when_idle=5)
        check_answers(StreamJob(tmp_path, source, **_more()), len(sent))
    assert asked == []


def test_pubsub_messages_do_not_choose(pubsub: PubSubEmulator, tmp_path: Path) -> None:
    import orjson

    name = f"forged-{tmp_path.name}"
    topic = pubsub.create_topic(name)
    subscription = pubsub.create_subscription(name, topic)
    publisher = pubsub.publisher()
    with counted_requests() as (url, asked):
        forged = attributes(url)
        sent = [(orjson.dumps(body), {}) for body in bodies(url)]
        sent += [(TEXT.encode(), {name: value}) for name, value in forged.items()]
        sent += [(TEXT.encode(), forged), (orjson.dumps({"text": TEXT}), forged)]
        for future in [publisher.publish(topic, body, **given) for body, given in sent]:
            future.result(60)
        source = {"format": "pubsub", "subscription": subscription, "stop_when_idle": 10}
        check_answers(StreamJob(tmp_path, source, **_more()), len(sent))
    assert asked == []


def _more() -> dict[str, Any]:
    given = settings()
    assert given["labels"] == LABELS
    return given
