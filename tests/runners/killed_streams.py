"""Kills a stream with SIGKILL at random moments and goes on, then counts: `python -m tests.runners.killed_streams`.

    --kills 20 --seed 1     how often, and which moments

Messages come from a real Kafka broker while the job starts, reads, writes and publishes; one in 50 is broken, and
becomes a failure. Each kill is at a random moment: while the process starts, or after it has published its first rows.
In the end each id has to be in one row of one whole file.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from tests.pipelines.streaming.reading import until
from tests.runners.stream_job import LABELS, StreamJob, kafka_source
from tests.servers.kafka import KafkaBroker

EACH, PER_SECOND, PARTITIONS = 400, 200.0, 3
STARTING_S, PUBLISHING_S = 6.0, 2.5
FIRST_ROWS_S = 600  # a machine may be busy
BROKEN_EVERY = 50


@dataclass(frozen=True)
class Outcome:
    """What is left after all kills."""

    kills: int
    before_rows: int  # kills before the process had published anything
    messages: int
    lost: int
    twice: int
    damaged: int

    @property
    def is_good(self) -> bool:
        """Whether nothing is lost, twice or damaged."""
        return not (self.lost or self.twice or self.damaged)


def kill_and_continue(kafka: KafkaBroker, folder: Path, kills: int, seed: int) -> Outcome:
    """Kill a job of a topic so often, let the last one finish, and return what is left."""
    chance = random.Random(seed)
    topic = kafka.create_topic(f"killed-{seed}-{kills}", PARTITIONS)
    job = StreamJob(folder, kafka_source(kafka, topic))
    before_rows = 0
    for kill in range(kills):
        before = len(_files(job))
        publisher = threading.Thread(target=_publish, args=(kafka, topic, kill * EACH, PER_SECOND))
        with job.running() as process:
            publisher.start()
            if chance.random() < 0.3:
                time.sleep(chance.uniform(0, STARTING_S))
            else:
                rows = lambda before=before: len(_files(job)) > before  # noqa: E731
                until(lambda rows=rows, process=process: rows() or process.poll() is not None, FIRST_ROWS_S)
                time.sleep(chance.uniform(0, PUBLISHING_S))
            if process.poll() is not None:
                assert process.stdout is not None
                raise RuntimeError(f"the job has ended by itself: {process.stdout.read()[-3_000:]}")
            process.kill()
            process.wait()
            before_rows += len(_files(job)) == before
        print(f"kill {kill + 1} of {kills}: {len(_files(job))} files", file=sys.stderr)
        publisher.join()
    StreamJob(folder, kafka_source(kafka, topic, stop_when_idle=3)).finish()
    expected = {_id(number) for number in range(kills * EACH)}
    found, damaged = _read(job)
    twice = sum(count - 1 for count in found.values())
    lost = len(expected - found.keys()) + len(found.keys() - expected)
    return Outcome(kills, before_rows, len(expected), lost, twice, damaged)


def _id(number: int) -> str:
    return f"r{number}"


def _publish(kafka: KafkaBroker, topic: str, start: int, per_second: float) -> None:
    import confluent_kafka

    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for number in range(start, start + EACH):
        body: dict[str, object] = {"id": _id(number), "text": f"{LABELS[number % 2]} {number}"}
        if number % BROKEN_EVERY == 0:
            body["text"] = ""
        producer.produce(topic, json.dumps(body).encode(), key=f"k{number}".encode())
        producer.poll(0)
        time.sleep(1 / per_second)
    assert producer.flush(60) == 0


def _files(job: StreamJob) -> list[Path]:
    folders = (job.out, job.out.with_name("out-failures"))
    return [path for folder in folders for path in folder.glob("date=*/hour=*/part-*")]


def _read(job: StreamJob) -> tuple[Counter[str], int]:
    """Return how often each id is there, in results and failures, and how many files can't be read."""
    found: Counter[str] = Counter()
    damaged = 0
    for path in _files(job):
        try:
            table = pq.read_table(path)  # all columns, to the end
            table.validate(full=True)
        except Exception as error:
            print(f"{path}: {error}", file=sys.stderr)
            damaged += 1
        else:
            found.update(table["id"].to_pylist())
    return found, damaged


def main() -> None:
    """Print the table; the exit code is 1 if anything is lost, twice or damaged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with KafkaBroker() as kafka, tempfile.TemporaryDirectory() as folder:
        outcome = kill_and_continue(kafka, Path(folder), given.kills, given.seed)
    print(f"{'SIGKILLs':<40}{outcome.kills:>10,}")
    print(f"{'  of them before any row was published':<40}{outcome.before_rows:>10,}")
    for name in ("messages", "lost", "twice", "damaged"):
        print(f"{name:<40}{getattr(outcome, name):>10,}")
    sys.exit(0 if outcome.is_good else 1)


if __name__ == "__main__":
    main()
