"""The program of the flex template: its parameters are those of metadata.json, each a key of the job."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from classer_core.storage import open_reading
from pipelines.job import Job, document_of, parse_job

METADATA = Path(__file__).parent / "metadata.json"


def parameters() -> list[dict[str, Any]]:
    """The template's parameters, as in metadata.json."""
    return list(json.loads(METADATA.read_text())["parameters"])


def job_key(parameter: str) -> str:
    """The job's key that a parameter overrides: `source_path` is `source.path`."""
    section, _, key = parameter.partition("_")
    return f"{section}.{key}" if section in ("source", "output") else parameter


def read_job(arguments: Sequence[str]) -> tuple[Job, list[str]]:
    """Parameters in; the job and the options for Beam out.

    Raises:
        JobError: with every problem found.
    """
    parser = argparse.ArgumentParser()
    for parameter in parameters():
        parser.add_argument(f"--{parameter['name']}", required=not parameter["isOptional"])
    given, beam_args = parser.parse_known_args(arguments)
    with open_reading(given.job) as file:
        text = file.read().decode()
    values = {name: value for name, value in vars(given).items() if value is not None and name != "job"}
    overrides = [f"{job_key(name)}={value}" for name, value in values.items()]
    return parse_job(document_of(text, given.job, overrides), Path("/") / given.job.rpartition("/")[2]), beam_args


def main() -> None:
    """Starts the job on Dataflow."""
    from runners.local import run_job

    job, beam_args = read_job(sys.argv[1:])
    run_job(job, Path("/"), "dataflow", beam_args)


if __name__ == "__main__":
    main()
