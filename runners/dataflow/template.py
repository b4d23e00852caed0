"""The program of the flex template: its parameters are those of metadata.json, each a key of the job."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from classer_core.filesystems import is_url
from classer_core.source_file import open_reading
from classer_core.storage_errors import as_problem
from pipelines.job import Job, document_of, parse_job

METADATA = Path(__file__).parent / "metadata.json"


def parameters() -> list[dict[str, Any]]:
    """The template's parameters, as in metadata.json."""
    return list(json.loads(METADATA.read_text())["parameters"])


def job_key(parameter: str) -> str:
    """The job's key that a parameter overrides: `source_path` is `source.path`."""
    section, _, key = parameter.partition("_")
    return f"{section}.{key}" if section in ("source", "output") else parameter


def read_arguments(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parameters in; those of the template and the options for Beam out.

    `--labels` are the job's as a YAML list, and Dataflow's own, of the job as a resource, as `key=value`.
    """
    parser = argparse.ArgumentParser()
    for parameter in parameters():
        action = "append" if parameter["name"] == "labels" else "store"
        parser.add_argument(f"--{parameter['name']}", required=not parameter["isOptional"], action=action)
    given, beam_args = parser.parse_known_args(arguments)
    labels = given.labels or []
    given.labels = next((value for value in labels if value.startswith("[")), None)
    return given, [*beam_args, *(f"--labels={value}" for value in labels if not value.startswith("["))]


def read_job(given: argparse.Namespace) -> Job:
    """Return the job of a template's parameters.

    Raises:
        JobError: with every problem found.
    """
    with as_problem("--job", given.job), open_reading(given.job) as file:
        text = file.read().decode()
    own = {"job", "summary"}
    values = {name: value for name, value in vars(given).items() if value is not None and name not in own}
    overrides = [f"{job_key(name)}={value}" for name, value in values.items()]
    return parse_job(document_of(text, given.job, overrides), job_file(given.job))


def job_file(job: str) -> Path:
    """Where a job's relative paths start: beside its file, or, of a file that lies elsewhere, at the root."""
    return Path("/") / job.rpartition("/")[2] if is_url(job) else Path(job).resolve()


def main() -> None:
    """Runs the job on Dataflow, or on Beam's runner of `--runner`; exit codes are those of `classer`."""
    from runners.options import RUNNERS
    from runners.running import finish
    from runners.summary import reported

    given, beam_args = read_arguments(sys.argv[1:])
    parser = argparse.ArgumentParser()
    parser.add_argument("--runner", default="dataflow")
    asked, beam_args = parser.parse_known_args(beam_args)
    names = {"DirectRunner": "local"} | {beam: name for name, (beam, _) in RUNNERS.items()}
    try:
        with reported(given.summary, given.job) as report:
            report.summary = finish(
                lambda: read_job(given), job_file(given.job).parent, names.get(asked.runner, asked.runner), beam_args
            )
    except typer.Exit as stopped:
        sys.exit(stopped.exit_code)


if __name__ == "__main__":
    main()
