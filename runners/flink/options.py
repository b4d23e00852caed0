"""Options of a Flink run: embedded in a Java process of this machine, or on a cluster."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from classer_core.classifiers import shown
from classer_core.errors import JobError, Problem
from runners.given import Completed, Given, missing
from runners.job_server import WORKER_POOL, job_server_jar, need_java

EMBEDDED = ("[local]", "[auto]")
EMBEDDED_VERSION = "1.20"
# Of streams. Messages are acknowledged after each checkpoint; between two bundles a reader waits for so many ms.
STREAMING: dict[str, Any] = {"checkpointing_interval": 5_000, "max_bundle_time_mills": 20}
# Checkpoints outlive a job that was cancelled or lost its cluster: `--savepoint_path` goes on from one.
KEPT: dict[str, Any] = {
    "externalized_checkpoints_enabled": True,
    "retain_externalized_checkpoints_on_cancellation": True,
}
THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")
ANSWER_SECONDS = 10


class FlinkStreamOptions(PipelineOptions):
    """Options of the Java runner that we set: Python's SDK takes those that it does not know for mistakes."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        for name in STREAMING:
            parser.add_argument(f"--{name}", type=int)
        for name in KEPT:
            parser.add_argument(f"--{name}", action="store_true", default=None)


def flink(given: Given) -> Completed:
    """Embedded without a `--flink_master`, with this process as the worker; else one worker for each TaskManager."""
    master = str(given.get("flink_master", EMBEDDED[0])).strip()
    embedded = master in EMBEDDED
    defaults, at_once = _embedded(given) if embedded else _cluster(given, master)
    if given.get("streaming"):
        defaults |= missing(given, **STREAMING, **({} if embedded else KEPT))
    return defaults, at_once


def _embedded(given: Given) -> Completed:
    """More bundles at once than one would only divide the same cores: the model uses all of them."""
    defaults = missing(given, flink_master=EMBEDDED[0], parallelism=1)
    if "flink_job_server_jar" not in given:
        defaults["flink_job_server_jar"] = job_server_jar("flink", str(given.get("flink_version", EMBEDDED_VERSION)))
    need_java("flink")
    return defaults, max(given.get("parallelism", 1), 1)


def _cluster(given: Given, master: str) -> Completed:
    """The job is one jar that the JobManager gets: it goes on when this process ends. Every slot takes part.

    Only Beam's job server can tell a cluster which savepoint a job goes on from.
    """
    address = master if master.startswith(("http://", "https://")) else f"http://{master}"
    slots = [int(item["slotsNumber"]) for item in _ask(address, "taskmanagers")["taskmanagers"]]
    if not slots:
        raise JobError([Problem("--flink_master", shown(master), "the cluster has no TaskManager", "Start one.")])
    defaults = missing(given, parallelism=sum(slots))
    if "savepoint_path" not in given:
        defaults |= missing(given, flink_submit_uber_jar=True)
    if "flink_job_server_jar" not in given:
        version = ".".join(str(_ask(address, "config")["flink-version"]).split(".")[:2])
        defaults["flink_job_server_jar"] = job_server_jar("flink", version)
    if "environment_type" not in given:
        host = address.partition("://")[2].rpartition(":")[0]
        if host in THIS_MACHINE:
            command = json.dumps({"command": str(Path(sys.executable).parent / "classer-worker")})
            defaults |= {"environment_type": "PROCESS", "environment_config": command}
        else:
            defaults |= {"environment_type": "EXTERNAL", "environment_config": WORKER_POOL}
    return defaults, max(slots)


def _ask(address: str, path: str) -> Any:
    try:
        with urllib.request.urlopen(f"{address}/{path}", timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        remedy = "Give the address of the JobManager's REST interface, as in localhost:8081."
        raise JobError([Problem("--flink_master", shown(address), f"no Flink answers: {error}", remedy)]) from error
