"""A streaming job of a test as a process, and what it has published."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import yaml

from tests.servers.kafka import KafkaBroker

LABELS = ["billing", "sales"]
END_S = 300


class StreamJob:
    """A job of a test: its file, and the rows it has published."""

    def __init__(self, folder: Path, source: dict[str, Any], **more: Any) -> None:
        self.out = folder / "out"
        document = {"source": source, "labels": LABELS, "output": {"path": str(self.out), "file_seconds": 1}, **more}
        self.file = folder / "job.yaml"
        self.file.write_text(yaml.safe_dump(document))

    @contextmanager
    def running(self, *module: str) -> Iterator[subprocess.Popen[str]]:
        """The job as a process, killed at the end if it is still there."""
        command = [sys.executable, "-m", *(module or ("tests.runners.streaming_job",)), str(self.file)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def finish(self) -> str:
        """Runs it until nothing has come for a while; what it says."""
        with self.running() as process:
            said, _ = process.communicate(timeout=END_S)
            assert process.returncode == 0, said
            return said

    def ids(self, name: str = "") -> list[str]:
        """Ids of the published rows."""
        folder = self.out.with_name(self.out.name + name)
        if not any(folder.rglob("part-*")):
            return []
        return ds.dataset(folder, format="parquet", partitioning="hive").to_table(columns=["id"])["id"].to_pylist()


def kafka_source(kafka: KafkaBroker, topic: str, **more: Any) -> dict[str, Any]:
    return {"format": "kafka", "bootstrap_servers": kafka.bootstrap_servers, "topic": topic, "group": topic, **more}
