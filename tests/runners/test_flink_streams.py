"""Streams on a real Flink with checkpoints on disk: workers, TaskManagers and the whole cluster die under a job."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import confluent_kafka
import psutil
import pyarrow.dataset as ds
import pytest
import yaml

from runners.flink.cluster import Cluster
from runners.flink.jars import built_job_server_jar
from tests.servers.kafka import KafkaBroker

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
LABELS = ["billing", "sales"]
PARTITIONS = 4
END_SECONDS = 240


class Run:
    """A job from Kafka to `output` on a cluster, its messages, and what it has published."""

    def __init__(self, kafka: KafkaBroker, folder: Path, **more: Any) -> None:
        name = uuid.uuid4().hex[:8]
        self.kafka = kafka
        self.folder = folder
        self.topic = kafka.create_topic(f"in-{name}", PARTITIONS)
        self.published = 0
        servers = {"format": "kafka", "bootstrap_servers": kafka.bootstrap_servers}
        source = {**servers, "topic": self.topic, "group": name, **more.pop("source", {})}
        output = more.pop("output", {"path": "out", "file_seconds": 1})
        self.job = folder / "job.yaml"
        self.job.write_text(yaml.safe_dump({"source": source, "labels": LABELS, "output": output, **more}))
        self.group = name

    def publish(self, count: int, per_second: float = 1e9) -> None:
        producer = confluent_kafka.Producer({"bootstrap.servers": self.kafka.bootstrap_servers})
        for number in range(self.published, self.published + count):
            body = json.dumps({"id": f"r{number}", "text": f"{LABELS[number % 2]} {number}"})
            producer.produce(self.topic, body.encode(), partition=number % PARTITIONS)
            if per_second < 1e6:
                producer.poll(0)
                time.sleep(1 / per_second)
        self.published += count
        assert producer.flush(60) == 0

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """The client, which a job on a cluster outlives."""
        command = [sys.executable, "-m", "tests.runners.streaming_job", str(self.job), "flink"]
        command += [f"--flink_job_server_jar={built_job_server_jar()}", *arguments]
        with (self.folder / "client.log").open("ab") as log:
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            client = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield client
        finally:
            kill_all(client)

    def ids(self) -> Counter[str]:
        """How often each id is published."""
        folder = self.folder / "out"
        if not any(folder.rglob("part-*")):
            return Counter()
        table = ds.dataset(folder, format="parquet", partitioning="hive").to_table(columns=["id"])
        return Counter(table["id"].to_pylist())

    def expected(self) -> Counter[str]:
        return Counter(f"r{number}" for number in range(self.published))

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + END_SECONDS
        while not condition():
            assert time.monotonic() < end, (self.folder / "client.log").read_text()[-3_000:]
            time.sleep(0.2)

    def committed(self) -> int:
        """How many messages the group has behind it."""
        settings = confluent_kafka.Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": self.group})
        places = [confluent_kafka.TopicPartition(self.topic, number) for number in range(PARTITIONS)]
        found = sum(max(0, place.offset) for place in settings.committed(places, timeout=30))
        settings.close()
        return found


@pytest.fixture
def new_cluster(tmp_path: Path) -> Iterator[Callable[[], Cluster]]:
    """Makes clusters that share a folder, one after the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        made: list[Cluster] = []

        def new() -> Cluster:
            made.append(Cluster(task_managers=2, slots=1, folder=tmp_path / "cluster"))
            return made[-1].__enter__()

        yield new
        for cluster in made:
            cluster.stop()


def kill_all(client: subprocess.Popen[bytes]) -> None:
    """A process and its children; an embedded Flink is one."""
    if client.poll() is None:
        for child in psutil.Process(client.pid).children(recursive=True):
            child.kill()
    client.kill()
    client.wait()


def newest_checkpoint(folder: Path) -> Path:
    found = sorted(
        (folder / "cluster" / "checkpoints").glob("*/chk-*/_metadata"), key=lambda file: file.stat().st_mtime
    )
    return found[-1].parent


def worker(cluster: Cluster) -> psutil.Process:
    """One of the Python workers."""
    return next(
        child
        for manager in cluster.task_managers
        for child in psutil.Process(manager.pid).children(recursive=True)
        if "classer-worker" in " ".join(child.cmdline())
    )


def running_jobs(cluster: Cluster) -> int:
    return sum(job["state"] == "RUNNING" for job in cluster.get("jobs/overview")["jobs"])


def test_whatever_dies_each_row_is_there_once(
    kafka: KafkaBroker, tmp_path: Path, new_cluster: Callable[[], Cluster]
) -> None:
    """A worker, then a TaskManager, then the whole cluster; a new one goes on from the checkpoint on the disk."""
    run = Run(kafka, tmp_path)
    cluster = new_cluster()
    with run.started(f"--flink_master={cluster.address}"):
        run.publish(500)
        run.until(lambda: len(run.ids()) == 500)

        publisher = threading.Thread(target=run.publish, args=(1_000, 200))
        publisher.start()
        run.until(lambda: len(run.ids()) > 600)
        worker(cluster).kill()
        publisher.join()
        run.until(lambda: len(run.ids()) == 1_500)

        publisher = threading.Thread(target=run.publish, args=(1_000, 200))
        publisher.start()
        run.until(lambda: len(run.ids()) > 1_600)
        cluster.task_managers[0].kill()
        cluster.task_managers[0].wait()
        cluster.replace_dead()
        publisher.join()
        run.until(lambda: len(run.ids()) == 2_500)
        run.until(lambda: run.committed() == 2_500)

        publisher = threading.Thread(target=run.publish, args=(1_000, 200))
        publisher.start()
        run.until(lambda: len(run.ids()) > 2_600)
        for process in (*cluster.task_managers, cluster.job_manager):
            assert process is not None
            os.killpg(process.pid, signal.SIGKILL)
        publisher.join()
    assert 2_600 < len(run.ids()) < 3_500

    checkpoint = newest_checkpoint(tmp_path)
    cluster = new_cluster()
    with run.started(f"--flink_master={cluster.address}", f"--savepoint_path={checkpoint.as_uri()}"):
        run.until(lambda: running_jobs(cluster) == 1)
        [job] = cluster.get("jobs/overview")["jobs"]
        run.until(lambda: len(run.ids()) == 3_500)
        run.until(lambda: run.committed() == 3_500)
        assert cluster.get(f"jobs/{job['jid']}/checkpoints")["counts"]["restored"] == 1
    assert run.ids() == run.expected()


def test_an_embedded_flink_acknowledges_ends_and_goes_on(kafka: KafkaBroker, tmp_path: Path) -> None:
    """To a topic: at least once. Killed, it goes on where its group is."""
    answers = kafka.create_topic(f"out-{uuid.uuid4().hex[:8]}")
    servers = {"format": "kafka", "bootstrap_servers": kafka.bootstrap_servers}
    run = Run(
        kafka,
        tmp_path,
        output={**servers, "topic": answers},
        failures={"path": "failures"},
    )
    reader = confluent_kafka.Consumer(
        {"bootstrap.servers": kafka.bootstrap_servers, "group.id": answers, "auto.offset.reset": "earliest"}
    )
    reader.subscribe([answers])
    ids: Counter[str] = Counter()

    def read() -> int:
        for message in reader.consume(1_000, 0.2):
            ids[json.loads(message.value())["id"]] += 1
        return len(ids)

    run.publish(300)
    with run.started() as client:
        run.until(lambda: read() == 300)
        run.until(lambda: run.committed() == 300)
        run.publish(300)
        run.until(lambda: read() > 400)
        kill_all(client)
    run.publish(300)
    with run.started() as client:
        run.until(lambda: read() == 900)
        client.terminate()
        assert client.wait(END_SECONDS) == 0, (tmp_path / "client.log").read_text()[-3_000:]
    read()
    reader.close()
    assert ids.keys() == run.expected().keys()
    assert sum(ids.values()) <= 900 + 300
    assert run.committed() == 900
