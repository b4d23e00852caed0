"""Options of a Dataflow run, and of a dry run that needs no account."""

from __future__ import annotations

import importlib.util

from classer_core.errors import JobError, Problem
from runners.given import Completed, Given, missing

ONE_PROCESS = "no_use_multiple_sdk_containers"


def dataflow(given: Given) -> Completed:
    """One Python process, one bundle and so one copy of the model on each machine: it has all cores, or the GPU.

    Raises:
        JobError: Google's libraries are not installed.
    """
    if importlib.util.find_spec("apitools") is None:
        remedy = "Install them: pip install 'classer-pipelines[gcp]'."
        raise JobError([Problem("--runner", "dataflow", "needs Google's libraries, the extra `gcp`", remedy)])
    defaults = missing(given, number_of_worker_harness_threads=1, sdk_location="container")
    if ONE_PROCESS not in (given.get("experiments") or []):
        defaults["experiments"] = ONE_PROCESS
    return defaults, 1
