"""A queue into a table: rows that break its schema are failures, and all messages are acknowledged."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, NotFound

from pipelines.job import parse_job
from runners.local import run_job
from tests.fakes import load
from tests.pipelines.bigquery.warehouse import LABELS, Warehouse, string
from tests.servers.kafka import KafkaBroker

pytestmark = pytest.mark.integration
BAD_ROWS = range(5, 1_000, 27)  # 37 of them


def message(number: int) -> dict[str, Any]:
    bad = number in BAD_ROWS
    body = {"id": f"{number:04}", "text": f"{LABELS[number % 3]} {number}", "customer": "c", "note": "short"}
    if bad and number % 2:
        return {name: body[name] for name in body if name != "customer"}
    return body | {"note": "longer than ten"} if bad else body


def test_a_topic_becomes_a_table(tmp_path: Path, warehouse: Warehouse) -> None:
    from confluent_kafka import Producer

    warehouse.create("results", string("customer", "REQUIRED"), string("note", max_length=10))
    with KafkaBroker() as broker:
        topic = broker.create_topic("tickets", 2)
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        for number in range(1_000):
            producer.produce(topic, json.dumps(message(number)).encode())
        assert producer.flush(30) == 0
        source = {"format": "kafka", "bootstrap_servers": broker.bootstrap_servers, "topic": topic, "group": "g"}
        document = {
            "source": {**source, "stop_when_idle": "2s"},
            "output": {"format": "bigquery", "table": warehouse.name("results")},
            "labels": LABELS,
            "passthrough": ["customer", "note"],
        }
        job = parse_job(document, tmp_path / "job.yaml")
        summary = run_job(job, tmp_path, load=load)
        assert (summary.records, summary.results, summary.failures) == (1_000, 963, {"row_refused": 37})
        assert run_job(job, tmp_path, load=load).records == 0  # everything is acknowledged
    written, failures = warehouse.rows("results"), warehouse.rows("results_failures")
    assert [row["id"] for row in written] == [f"{n:04}" for n in range(1_000) if n not in BAD_ROWS]
    assert [row["label"] for row in written] == [LABELS[n % 3] for n in range(1_000) if n not in BAD_ROWS]
    assert [row["id"] for row in failures] == [f"{number:04}" for number in BAD_ROWS]
    assert {row["message"] for row in failures} == {
        "column customer: no value, and the column is REQUIRED",
        "column note: a length of 15, and the column is STRING(10)",
    }


def test_all_that_a_message_brings_fits_in_a_table(tmp_path: Path, warehouse: Warehouse) -> None:
    from confluent_kafka import Producer

    with KafkaBroker() as broker:
        topic = broker.create_topic("tickets")
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        producer.produce(topic, b'{"id": "1", "text": "sales", "more": 7}', key="k", headers={"h": b"v"})
        assert producer.flush(30) == 0
        source = {"format": "kafka", "bootstrap_servers": broker.bootstrap_servers, "topic": topic, "group": "g"}
        job = warehouse.job(tmp_path, {**source, "stop_when_idle": "2s"}, {})
        run_job(job, tmp_path, load=load)
    [row] = warehouse.rows("results")
    assert (row["id"], row["label"], json.loads(row["_rescued_data"])) == ("1", "sales", {"more": 7})


def test_killed_and_run_again(tmp_path: Path, warehouse: Warehouse, server: Any) -> None:
    """SIGKILL three times: each message is one row in the end."""
    from confluent_kafka import Producer

    each, attempts, killed = 5_000, 4, 0
    environment = {**os.environ, **server.variables, "CLASSER_CACHE_DIR": str(tmp_path / "cache")}
    with KafkaBroker() as broker:
        topic = broker.create_topic("tickets", 2)
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        source = {"format": "kafka", "bootstrap_servers": broker.bootstrap_servers, "topic": topic, "group": "g"}
        output = {"format": "bigquery", "table": warehouse.name("results")}
        document = {"source": {**source, "stop_when_idle": "3s"}, "output": output, "labels": LABELS}
        for attempt in range(attempts):
            for number in range(attempt * each, (attempt + 1) * each):
                producer.produce(topic, json.dumps({"id": f"{number:05}", "text": f"sales {number}"}).encode())
            assert producer.flush(30) == 0
            before, log = rows_of(warehouse), tmp_path / f"log-{attempt}"
            command = [sys.executable, "-m", "tests.pipelines.bigquery.killed", str(tmp_path), json.dumps(document)]
            process = subprocess.Popen([*command, str(log)], env=environment)
            if attempt < attempts - 1:
                end = time.monotonic() + 60
                # Rows appear just before their messages are acknowledged.
                while rows_of(warehouse) == before and time.monotonic() < end:
                    assert process.poll() is None
                    time.sleep(0.01)
                process.send_signal(signal.SIGKILL)
                killed += process.wait() == -signal.SIGKILL
            else:
                assert process.wait() == 0
    assert killed == attempts - 1
    [found] = warehouse.query("SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM `$.results`")
    assert found == {"n": each * attempts, "ids": each * attempts}


def rows_of(warehouse: Warehouse) -> int:
    try:
        [row] = warehouse.query("SELECT COUNT(*) AS n FROM `$.results`")
    except (NotFound, BadRequest):  # the job has not made it yet
        return 0
    return int(row["n"])
