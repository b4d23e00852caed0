"""Streams against a real Kafka broker: `python -m tests.benchmarks.streams latency | rate | kills | memory`.

latency: from publishing to the result, at 20 records/s. rate: the highest one that keeps the targets, and the model's
ceiling. kills: `kill -9` of the job while 20,000 messages flow. memory: peak of the job over a backlog.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import confluent_kafka
import numpy as np
import psutil
import pyarrow.dataset as ds
import yaml

from tests.servers.kafka import KafkaBroker

TICKETS = Path(__file__).parents[2] / "configs" / "data" / "tickets.ndjson"
LABELS = ["billing", "technical", "sales"]
FAST_P95_MS, STANDARD_P95_MS = 200.0, 1_000.0
FAST_SHARE = 0.5
RATES = (50, 75, 100, 150, 200, 300, 400, 600, 800)
MESSAGES, KILLS = 20_000, 10


def main() -> None:
    """Prints what tests/benchmarks/README.md has."""
    what = {"latency": latency, "rate": rate, "kills": kills, "memory": memory}[sys.argv[1]]
    with tempfile.TemporaryDirectory() as name, KafkaBroker() as broker:
        what(Bench(broker, Path(name)))


class Bench:
    """A broker and a folder for jobs."""

    def __init__(self, broker: KafkaBroker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.texts = _texts()
        self._numbers = itertools.count(1)

    def topics(self) -> tuple[str, str]:
        """Two new ones: to read and to write."""
        number = next(self._numbers)
        return self.broker.create_topic(f"in{number}", 2), self.broker.create_topic(f"out{number}", 2)

    def job(self, topic: str, output: dict[str, Any], **more: Any) -> Path:
        """A job file that reads a topic."""
        source = {"format": "kafka", "bootstrap_servers": self.broker.bootstrap_servers, "topic": topic, "group": "g"}
        document = {
            "source": {**source, **more},
            "labels": LABELS,
            "text_type": "support ticket",
            "record_fields": ["priority"],
            "cache": "none",
            "output": output,
            "failures": str(self.folder / f"failures-{topic}"),
        }
        path = self.folder / f"{topic}.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    def topic_output(self, topic: str) -> dict[str, Any]:
        """Results to a topic."""
        return {"format": "kafka", "bootstrap_servers": self.broker.bootstrap_servers, "topic": topic}

    def producer(self) -> Any:
        """Sends at once."""
        return confluent_kafka.Producer({"bootstrap.servers": self.broker.bootstrap_servers, "linger.ms": 0})

    def publish(self, topic: str, per_second: float, seconds: float, prefix: str = "") -> int:
        """Publishes at a steady rate, and says how many."""
        producer = self.producer()
        chance = random.Random(0)
        start, total = time.time(), round(per_second * seconds)
        for number in range(total):
            time.sleep(max(0.0, start + number / per_second - time.time()))
            priority = "fast" if chance.random() < FAST_SHARE else "standard"
            body = {"id": f"{prefix}{priority}-{number}", "text": next(self.texts), "priority": priority}
            producer.produce(topic, json.dumps(body).encode())
            producer.poll(0)
        producer.flush()
        return total


@contextmanager
def running(job: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`classer run` in a process of its own, ended by SIGTERM."""
    process = subprocess.Popen([sys.executable, "-m", "runners.cli", "run", str(job)], stdout=subprocess.DEVNULL)
    try:
        yield process
    except BaseException:
        process.kill()
        raise
    process.send_signal(signal.SIGTERM)
    if process.wait(90) != 0:
        raise RuntimeError(f"the job ended with {process.returncode}")


class Results:
    """Follows a topic of results: id -> milliseconds from the message's own time stamp to its arrival here."""

    def __init__(self, servers: str, topic: str) -> None:
        options = {"bootstrap.servers": servers, "group.id": "bench", "auto.offset.reset": "earliest"}
        self._consumer = confluent_kafka.Consumer({**options, "fetch.wait.max.ms": 10})
        self._consumer.subscribe([topic])
        self.latency_ms: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether it came to that in time."""
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        return condition()

    def percentiles(self, kind: str) -> tuple[float, float, float, int]:
        """P50, P95, P99 and the number of ids that have this in them."""
        found = [value for id_, value in self.latency_ms.items() if kind in id_]
        p50, p95, p99 = np.percentile(found, [50, 95, 99])
        return float(p50), float(p95), float(p99), len(found)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _follow(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(500, 0.02):
                if message.error() is None:
                    row = json.loads(message.value())
                    sent_ms = message.timestamp()[1]  # the time of the message that it answers
                    self.latency_ms[row["id"]] = time.time() * 1000 - sent_ms


def latency(bench: Bench, per_second: float = 20, seconds: float = 60) -> None:
    """Latency at 20 records/s."""
    with _warm(bench) as (topic, results):
        _measure(bench, topic, results, per_second, seconds)
        print(_row(per_second, results, len(results.latency_ms)))


def rate(bench: Bench) -> None:
    """Latency at growing rates, until they miss the targets."""
    print(f"the model's ceiling: {_ceiling(bench):,.0f} records/s")
    with _warm(bench) as (topic, results):
        for per_second in RATES:
            total = _measure(bench, topic, results, per_second, 20)
            print(_row(per_second, results, total), flush=True)
            if results.percentiles("fast")[1] > FAST_P95_MS or results.percentiles("standard")[1] > STANDARD_P95_MS:
                break


@contextmanager
def _warm(bench: Bench) -> Iterator[tuple[str, Results]]:
    topic, out = bench.topics()
    results = Results(bench.broker.bootstrap_servers, out)
    with running(bench.job(topic, bench.topic_output(out))):
        bench.publish(topic, 20, 1, "warm")
        if not results.wait(lambda: len(results.latency_ms) >= 20, 120):
            raise RuntimeError("no result")
        bench.publish(topic, 100, 5, "warm")
        results.wait(lambda: len(results.latency_ms) >= 520, 60)
        yield topic, results
        results.close()


def _measure(bench: Bench, topic: str, results: Results, per_second: float, seconds: float) -> int:
    results.latency_ms = {}
    total = bench.publish(topic, per_second, seconds, f"{per_second}-")
    if not results.wait(lambda: len(results.latency_ms) >= total, 60):
        raise RuntimeError(f"{total - len(results.latency_ms)} results are missing")
    return total


def _row(per_second: float, results: Results, total: int) -> str:
    cells = [f"{per_second:,.0f}", f"{total:,}"]
    for kind in ("fast", "standard"):
        cells += [f"{value:,.0f}" for value in results.percentiles(kind)[:3]]
    return "| " + " | ".join(cells) + " |"


def _ceiling(bench: Bench) -> float:
    """Records/s of the model alone, on the same texts, in chunks of a thousand."""
    from classer_core import Classifier
    from classer_core.engine import load_engine
    from classer_core.records import Record

    engine = load_engine("embedded", "none", "fail")
    classifier = Classifier(tuple(LABELS), text_type="support ticket")
    best = 0.0
    for _ in range(4):
        records = [Record(str(number), next(bench.texts), classifier) for number in range(2_048)]
        start = time.perf_counter()
        engine.classify(records)
        best = max(best, len(records) / (time.perf_counter() - start))
    return best


def kills(bench: Bench) -> None:
    """Kills the job ten times while messages flow, into partitioned Parquet."""
    topic, _ = bench.topics()
    out = bench.folder / "out"
    job = bench.job(topic, {"path": str(out), "file_seconds": 2}, stop_when_idle=10)
    publisher = threading.Thread(target=bench.publish, args=(topic, 130, MESSAGES / 130))
    publisher.start()
    chance = random.Random(0)
    for number in range(KILLS):
        process = subprocess.Popen([sys.executable, "-m", "runners.cli", "run", str(job)], stderr=subprocess.DEVNULL)
        before = len(list(out.rglob("part-*")))
        while len(list(out.rglob("part-*"))) <= before and process.poll() is None:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 5))
        process.kill()
        process.wait()
        print(f"kill {number + 1}: {len(list(out.rglob('part-*')))} files", flush=True)
    publisher.join()
    subprocess.run([sys.executable, "-m", "runners.cli", "run", str(job)], check=True, timeout=600)
    ids = ds.dataset(out, format="parquet", partitioning="hive").to_table(columns=["id"])["id"].to_pylist()
    print(f"{len(set(ids)):,} of {MESSAGES:,} ids, {len(ids) - len(set(ids))} rows twice")


def memory(bench: Bench) -> None:
    """Peak memory over a backlog of short texts, no two of them alike, into partitioned Parquet."""
    peaks = {}
    for count in (1_000, 100_000):
        topic, _ = bench.topics()
        producer = bench.producer()
        for number in range(count):
            producer.produce(topic, json.dumps({"id": str(number), "text": f"my invoice {number} is wrong"}).encode())
            producer.poll(0)
            if number % 10_000 == 0:
                producer.flush()
        producer.flush()
        job = bench.job(topic, {"path": str(bench.folder / f"out-{count}")}, stop_when_idle=5)
        process = subprocess.Popen([sys.executable, "-m", "runners.cli", "run", str(job)])
        peaks[count] = _peak(process)
        rows = ds.dataset(bench.folder / f"out-{count}", format="parquet", partitioning="hive").count_rows()
        print(f"{count:,} messages: {rows:,} rows, peak {peaks[count] / 1e6:,.0f} MB", flush=True)
    print(f"{peaks[100_000] / peaks[1_000]:.2f}x")


def _peak(process: subprocess.Popen[bytes]) -> int:
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        try:
            family = [watched, *watched.children(recursive=True)]
            peak = max(peak, sum(member.memory_info().rss for member in family))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    if process.wait() != 0:
        raise RuntimeError(f"the job ended with {process.returncode}")
    return peak


def _texts() -> Iterator[str]:
    """Support tickets without end, no two of them alike."""
    bodies = []
    for line in TICKETS.read_bytes().split(b"\n"):
        with contextlib.suppress(ValueError, KeyError):  # the demo has bad records too
            bodies.append(str(json.loads(line)["body"]))
    for number in itertools.count():
        yield f"{bodies[number % len(bodies)]} My ticket is {number}."


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
