"""A Flink cluster on this machine: `python -m runners.flink.cluster`, until it is interrupted.

One JobManager and some TaskManagers, each a process of its own that shares nothing but localhost with the others. The
cores are divided among the TaskManagers; a TaskManager's Python workers are its children and keep to its cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from runners.flink.jars import flink_jars

START_SECONDS = 60
STOP_SECONDS = 10
# What Flink 1.19 to 2 need of Java 17. Source: `env.java.opts.all` of Flink's own config.yaml.
OPENED = """
java.base/java.lang java.base/java.lang.invoke java.base/java.lang.reflect java.base/java.io java.base/java.net
java.base/java.nio java.base/java.math java.base/java.text java.base/java.time java.base/java.util
java.base/java.util.concurrent java.base/java.util.concurrent.atomic java.base/java.util.concurrent.locks
java.base/sun.net.util java.base/sun.nio.ch
"""
# Dead neighbours are noticed within seconds: Flink waits 50 by default, for networks that this cluster does not have.
CONFIGURATION = {
    "jobmanager.rpc.address": "localhost",
    "jobmanager.bind-host": "localhost",
    "jobmanager.execution.failover-strategy": "region",
    "cluster.evenly-spread-out-slots": True,
    # Without it a job whose worker dies ends with it.
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": 5,
    "restart-strategy.fixed-delay.delay": "1 s",
    "heartbeat.interval": 1_000,
    "heartbeat.timeout": 8_000,
    "rest.bind-address": "localhost",
    "rest.address": "localhost",
    "web.submit.enable": True,
    "taskmanager.bind-host": "localhost",
    "taskmanager.host": "localhost",
    "taskmanager.cpu.cores": 1.0,
    "taskmanager.memory.task.heap.size": "512m",
    "taskmanager.memory.task.off-heap.size": "128m",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.managed.size": "128m",
    # Each redistribution of a task takes up to 512 buffers of 32 KiB, and one machine may have to run all tasks.
    "taskmanager.memory.network.min": "192m",
    "taskmanager.memory.network.max": "192m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
}
LOGGING = """
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %-60c %x - %m%n
"""


class Cluster:
    """Starts the processes of a cluster; stops them on leaving its `with` block.

    Args:
        task_managers: how many.
        slots: of each: how many parts of a job it works on at a time.
        port: of the REST interface; 0 takes a free one.
        folder: for configuration, logs and temporary files; made and removed if none is given.
    """

    def __init__(self, task_managers: int = 2, slots: int = 1, port: int = 0, folder: str | Path | None = None) -> None:
        self._own_folder = folder is None
        self.folder = Path(folder or tempfile.mkdtemp(prefix="classer-flink-"))
        self.port = port or free_port()
        self.address = f"localhost:{self.port}"
        self.slots = task_managers * slots
        self._count = task_managers
        self.task_managers: list[subprocess.Popen[bytes]] = []
        self.job_manager: subprocess.Popen[bytes] | None = None
        configuration = CONFIGURATION | {
            "jobmanager.rpc.port": free_port(),
            "rest.port": self.port,
            "taskmanager.numberOfTaskSlots": slots,
            "io.tmp.dirs": str(self.folder / "tmp"),
            "web.upload.dir": str(self.folder / "tmp"),
            "state.checkpoints.dir": (self.folder / "checkpoints").as_uri(),
        }
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        (self.folder / "config.yaml").write_text(yaml.safe_dump(configuration))
        (self.folder / "log4j.properties").write_text(LOGGING)

    def __enter__(self) -> Cluster:
        """Returns when all slots are there.

        Raises:
            RuntimeError: a process ended, or the slots did not come in time; with the end of the log.
        """
        try:
            entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
            self.job_manager = self._java("jobmanager", entry, "512m", range(cores()))
            self.task_managers = [self._task_manager(number) for number in range(self._count)]
            self._wait_for_slots()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def replace_dead(self) -> None:
        """Starts a TaskManager for each that died, as Kubernetes does, and returns when all slots are there."""
        for number, process in enumerate(self.task_managers):
            if process.poll() is not None:
                self.task_managers[number] = self._task_manager(number)
        self._wait_for_slots()

    def get(self, path: str) -> Any:
        """The answer of the REST interface, as in `get("jobs")`."""
        with urllib.request.urlopen(f"http://{self.address}/{path}", timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> None:
        """Ends all processes, gently first."""
        processes = [process for process in (*self.task_managers, self.job_manager) if process is not None]
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the Python workers too
            process.wait()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def log(self, name: str) -> str:
        """Return the log of a process: `jobmanager`, `taskmanager-0`, ..."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _task_manager(self, number: int) -> subprocess.Popen[bytes]:
        share = max(1, cores() // self._count)
        first = number * share % cores()
        entry = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        return self._java(f"taskmanager-{number}", entry, "640m", range(first, first + share))

    def _java(self, name: str, entry: str, heap: str, allowed: range) -> subprocess.Popen[bytes]:
        java = Path(os.environ["JAVA_HOME"]) / "bin" / "java" if os.environ.get("JAVA_HOME") else "java"
        command = [
            *(["taskset", "-c", f"{allowed[0]}-{allowed[-1]}"] if shutil.which("taskset") else []),
            str(java),
            f"-Xmx{heap}",
            *(f"--add-opens={package}=ALL-UNNAMED" for package in OPENED.split()),
            f"-Dlog4j.configurationFile={self.folder / 'log4j.properties'}",
            "-cp",
            ":".join(map(str, flink_jars())),
            entry,
            "--configDir",
            str(self.folder),
        ]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def _wait_for_slots(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            for process in (*self.task_managers, self.job_manager):
                if process is not None and process.poll() is not None:
                    raise RuntimeError(
                        f"A process of the Flink cluster ended with {process.returncode}:\n{self._end()}"
                    )
            with suppress(OSError, ValueError):
                if self.get("overview")["slots-total"] == self.slots:
                    return
            time.sleep(0.2)
        raise RuntimeError(f"The Flink cluster did not start within {START_SECONDS} s:\n{self._end()}")

    def _end(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2_000:] for path in sorted(self.folder.glob("*.log")))


def cores() -> int:
    """Cores of this machine that this process may use."""
    from classer_core.hardware import available_cores

    return available_cores()


def free_port() -> int:
    """A port that nobody listens on, below those that systems hand out for connections: it is used a little later."""
    while True:
        port = random.randrange(12_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("localhost", port))
            return port


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a cluster until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m runners.flink.cluster", description=__doc__)
    parser.add_argument("--task-managers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=1, help="of each TaskManager")
    parser.add_argument("--port", type=int, default=8081)
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with Cluster(given.task_managers, given.slots, given.port) as cluster, suppress(KeyboardInterrupt):
        print(f"Flink is at http://{cluster.address} with {cluster.slots} slots; logs are in {cluster.folder}.")
        print(f"    classer run JOB.yaml --runner flink -- --flink_master={cluster.address}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
