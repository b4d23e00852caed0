"""Beam's pipeline options for a `--runner NAME`: what it needs, for what the user has not set."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from apache_beam.options.pipeline_options import PipelineOptions

from classer_core.errors import JobError, Problem
from classer_core.hardware import available_cores
from runners.beam_options import given_options
from runners.dataflow_options import dataflow
from runners.flink.options import flink
from runners.given import Completed, Given, missing
from runners.job_server import WORKER_POOL, job_server_jar

# Beam's DirectRunner picks another runner by what it finds installed or online; a job should not.
LOCAL_RUNNER = "FnApiRunner"
# Others may know options that Beam's Python SDK does not.
WITHOUT_JOB_SERVER = ("local", "prism")
PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"


class Launch(NamedTuple):
    """Beam's options, and how many bundles the workers of one machine classify at the same time."""

    options: PipelineOptions
    at_once: int


def launch_options(runner: str, beam_args: Sequence[str] = ()) -> Launch:
    """`local`, `flink`, `dataflow`, `prism`, `spark` or a Beam runner's own name in, with the user's own options.

    Raises:
        JobError: what the runner needs is not there, or an option is wrong.
    """
    beam_runner, complete = RUNNERS.get(runner, (runner, local))
    given = given_options(beam_args, strict=runner in WITHOUT_JOB_SERVER)
    defaults, at_once = complete(given)
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in defaults.items()]
    return Launch(PipelineOptions([f"--runner={beam_runner}", *flags, *beam_args]), at_once)


def local(given: Given) -> Completed:
    """One process unless the user wants more."""
    if given.get("direct_running_mode") in ("multi_processing", "multi_threading"):
        return {}, given.get("direct_num_workers", 1) or available_cores()
    return {}, 1


def prism(given: Given) -> Completed:
    """The binary in PATH or in Go's bin folder, if none is named: Beam would fetch one."""
    go_folder = Path(os.environ.get("GOPATH") or Path.home() / "go") / "bin"
    found = shutil.which("prism") or shutil.which("prism", path=str(go_folder))
    if found is None and "prism_location" not in given:
        remedy = f"Get it with `go install {PRISM}`, or give --prism_location after `--`."
        raise JobError([Problem("--runner", "prism", f"there is no prism in PATH or {go_folder}", remedy)])
    return missing(given, prism_location=found, prism_log_level="warn"), 1


def spark(given: Given) -> Completed:
    """Embedded, with one worker in this process, unless the user names a master; on a cluster, worker pools."""
    defaults = missing(given, spark_master_url="local[1]", spark_job_server_jar=None)
    if "spark_job_server_jar" in defaults:
        defaults["spark_job_server_jar"] = job_server_jar("spark", "3")
    if str(given.get("spark_master_url", "local")).startswith("local"):
        return defaults | missing(given, environment_type="LOOPBACK"), 1
    return defaults | missing(given, environment_type="EXTERNAL", environment_config=WORKER_POOL), 1


RUNNERS: dict[str, tuple[str, Callable[[Given], Completed]]] = {
    "local": (LOCAL_RUNNER, local),
    "flink": ("FlinkRunner", flink),
    "dataflow": ("DataflowRunner", dataflow),
    "prism": ("PrismRunner", prism),
    "spark": ("SparkRunner", spark),
}
