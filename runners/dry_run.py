"""`classer run --dry-run`: the complete graph of a job, and on what it would run, without running it or any account."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from apache_beam.portability.api import beam_runner_api_pb2

from classer_core.filesystems import is_url
from pipelines.graph import build
from pipelines.job.model import Job
from pipelines.readers import Columns
from runners.beam_options import new_pipeline
from runners.local import loader, readers_of, run_name
from runners.options import launch_options

# What Dataflow asks for; nobody is called.
NO_ACCOUNT = {
    "project": "no-project",
    "region": "us-central1",
    "temp_location": "gs://no-bucket/temp",
    "staging_location": "gs://no-bucket/staging",
}


class Graph(NamedTuple):
    """`steps` from source to sinks, `images` of the workers, and the whole as Beam's `pipeline` message."""

    steps: list[str]
    images: list[str]
    pipeline: Any


def dry_run(job: Job, folder: Path, runner: str, beam_args: Sequence[str] = ()) -> Graph:
    """Return a job's graph as the runner would get it.

    Raises:
        JobError: as in a run.
    """
    args = [*(["--streaming"] if job.source.is_stream else []), *beam_args]
    if runner == "dataflow":
        given = {arg.partition("=")[0] for arg in beam_args}
        args += [f"--{name}={value}" for name, value in NO_ACCOUNT.items() if f"--{name}" not in given]
        args += ["--dry_run=True", "--no_auth"]
    launch = launch_options(runner, args)
    pipeline = new_pipeline(runner, launch.options)
    load, readers = loader(job, runner, launch.at_once), readers_of(runner, launch.options)
    build(pipeline, job, _columns(job), run_name(), str(folder), load, readers=readers)
    if runner == "dataflow":
        pipeline.run()
        dataflow: Any = pipeline.runner
        proto = dataflow.proto_pipeline
    else:
        proto = pipeline.to_runner_api()
    return Graph(_steps(proto), _images(proto), proto)


def _columns(job: Job) -> Columns:
    """Return the columns of files on this machine; of sources elsewhere, those that the job names."""
    source = job.source
    if source.is_stream or (source.patterns and not any(map(is_url, source.patterns))):
        return source.find_columns(job.selection)
    return Columns(job.field_columns, pa.schema([]))


def _steps(proto: Any) -> list[str]:
    """Names of all steps that have a function or are one of Beam's primitives, in the graph's order."""
    transforms = proto.components.transforms
    found: list[str] = []

    def walk(key: str) -> None:
        children = transforms[key].subtransforms
        # A step that hands on what it gets, such as `Spread` on a local runner, does nothing.
        outputs, inputs = set(transforms[key].outputs.values()), set(transforms[key].inputs.values())
        is_empty = bool(outputs) and outputs <= inputs
        if not children and transforms[key].unique_name and not is_empty:
            found.append(transforms[key].unique_name)
        for child in children:
            walk(child)

    for root in proto.root_transform_ids:
        walk(root)
    return found


def _images(proto: Any) -> list[str]:
    images = set()
    for environment in proto.components.environments.values():
        if environment.urn == "beam:env:docker:v1":
            images.add(beam_runner_api_pb2.DockerPayload.FromString(environment.payload).container_image)
    return sorted(images)
