"""Runs a job: on this machine by default, on any Beam runner by name."""

from __future__ import annotations

import gc
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console

from classer_core.cache import NO_CACHE, default_cache_url
from classer_core.cached import CachedEngine, load_cached_engine, with_cache
from classer_core.engine import Engine
from classer_core.errors import TooManyFailuresError, UnreadableFilesError
from classer_core.fetching.rules import without_secrets
from classer_core.hardware import available_cores
from classer_core.models.spec import AnyModelSpec, ModelSpec
from classer_core.storage import join
from pipelines.graph import build
from pipelines.job.model import Job
from pipelines.sample import first_look
from pipelines.streaming.polling import join_all
from pipelines.streaming.stopping import stopped_by_signals
from pipelines.writers.lease import held
from pipelines.writers.publish import settle
from runners.adapt import adapted
from runners.beam_options import new_pipeline
from runners.certify import certified
from runners.flink.ending import wait_for_stream
from runners.launch_checks import check_budget, check_places, exclusive_folders, folders_of
from runners.options import launch_options
from runners.progress import shown_progress
from runners.summary import RunSummary

# How long the end of a stream waits for its queues.
CLOSE_S = 30.0


def run_job(
    job: Job,
    folder: Path,
    runner: str = "local",
    beam_args: Sequence[str] = (),
    console: Console | None = None,
    load: Callable[[], Engine] | None = None,
    only: frozenset[str] | None = None,
) -> RunSummary | None:
    """Runs a job to its end and returns what it did; all rows are written then.

    None where the runner has only taken the job, to begin later: a template of Dataflow.

    Args:
        job: the job, its paths absolute.
        folder: file names in ids are relative to it.
        runner: `local`, `flink`, `dataflow`, `prism`, `spark`, or the name of a Beam runner.
        beam_args: Beam's own pipeline options.
        console: where a progress bar goes; none without a terminal.
        load: loads the engine, instead of one with the job's models.
        only: ids of the records to classify; without, all of them.

    Raises:
        JobError: no file, a column that is not there, a place that can't be read or written, or no such runner or
            what it needs.
        AnotherRunError: another run writes the same folder.
        ModelLoadError: the model can't be loaded (local runs: before any record is read).
        UnreadableFilesError: too many files can't be read; nothing is published.
        TooManyFailuresError: too many records have failed; nothing is published, unless the job says `publish_anyway`.
    """
    if job.source.is_stream:
        if only is not None:
            _ = job.bounded_source  # raises: a stream has no set of records
        beam_args = ["--streaming", *beam_args]
    launch = launch_options(runner, beam_args)
    pipeline = new_pipeline(runner, launch.options)
    run = run_name()
    check_budget(job, runner, launch.at_once)
    threads = threads_at_once(launch.at_once)
    job = certified(adapted(job, str(folder), threads), str(folder), threads)
    columns = job.source.find_columns(job.selection)
    check_places(job, columns, run, str(folder))
    look = first_look(job.source, columns, job.requests, str(folder))
    if look.failures and console is not None:
        console.print(str(look), style="yellow", markup=False, highlight=False, soft_wrap=True)
    if load is not None:
        load_cached: Callable[[], CachedEngine] = partial(with_cache, cache_url(job, runner), load)
    else:
        load_cached = loader(job, runner, launch.at_once)
        if runner == "local":
            load_cached()  # errors come before any record is read; the worker, in this process, gets the same engine
    start = time.perf_counter()
    is_leased = not is_template(launch.options)
    readers = readers_of(runner, launch.options)
    build(pipeline, job, columns, run, str(folder), load_cached, only, readers, is_leased)
    stoppable = stopped_by_signals() if job.source.is_stream else nullcontext()
    with held(exclusive_folders(job), run), shown_progress(console, job), _spared_from_collection(), stoppable:
        settle(exclusive_folders(job))
        result = pipeline.run()
        if not getattr(result, "has_job", True):
            return None
        if runner == "flink" and job.source.is_stream:
            wait_for_stream(result)
        else:
            result.wait_until_finish()
        join_all(CLOSE_S)
    summary = RunSummary.of(job, run, result, time.perf_counter() - start)
    judge(job, summary)
    return summary


def judge(job: Job, summary: RunSummary) -> None:
    """Say what a run has withheld, or that too much of it has failed.

    Raises:
        UnreadableFilesError: more files than `max_unreadable_files` can't be read.
        TooManyFailuresError: more records than `max_failure_ratio` have failed.
    """
    withheld = "" if summary.is_published else f" Nothing was published: {unpublished(job, summary.run)}"
    if summary.unreadable_files > job.max_unreadable_files:
        raise UnreadableFilesError(
            f"{summary.unreadable_files} of the source's files can't be read (file_unreadable), max_unreadable_files "
            f"is {job.max_unreadable_files}.{withheld} Mend the files and run again: what was read is in the cache. "
            f"To do without them: --set max_unreadable_files={summary.unreadable_files}",
            summary,
        )
    failed = sum(summary.failures.values())
    if job.limits.too_many_failures(failed, summary.records):
        raise TooManyFailuresError(
            f"{failed} of {summary.records} records failed ({failed / summary.records:.1%}), max_failure_ratio is "
            f"{job.max_failure_ratio:.1%}.{withheld or f' See {summary.failures_path}.'}",
            summary,
        )


def unpublished(job: Job, run: str) -> str:
    """Return where the rows of a run are that has not published them."""
    kept = [without_secrets(join(folder, "_temporary", run)) for folder in folders_of(job).values()]
    there = f" The rows are in {' and '.join(kept)} until the next run publishes." if kept else ""
    return f"the last output is as it was.{there}"


def is_template(options: PipelineOptions) -> bool:
    """Return whether a job is only taken, to run later: its launcher can't hold its folders."""
    return options.get_all_options(retain_unknown_options=True).get("template_location") is not None


def readers_of(runner: str, options: PipelineOptions) -> int | None:
    """How many workers read a stream; None: Beam's own connectors do, because their runner knows them better."""
    if runner == "dataflow":
        return None
    return max(1, options.get_all_options(retain_unknown_options=True).get("parallelism") or 1)


def run_name() -> str:
    """A name for this run: its time, and something that tells two of one second apart."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}_{secrets.token_hex(3)}"


def cache_url(job: Job, runner: str = "local") -> str:
    """The job's cache; if it names none, a file of this machine's user, where the job runs on this machine."""
    if isinstance(job.cache, str):
        return job.cache
    return default_cache_url() if runner == "local" else NO_CACHE


def loader(job: Job, runner: str, at_once: int) -> Callable[[], CachedEngine]:
    """Return the loader of a job's engine for a worker whose machine classifies so many bundles at once."""
    return partial(load_share, cache_url(job, runner), job.model, job.visual_model, job.page_overflow, at_once)


def load_share(
    cache: str, model: AnyModelSpec, visual_model: ModelSpec, page_overflow: str, at_once: int
) -> CachedEngine:
    """The engine on a worker's machine, whose cores are shared by so many bundles that are classified at once."""
    engine = load_cached_engine(cache, model, visual_model, page_overflow, threads_at_once(at_once))
    gc.freeze()  # as below, for the process of a worker
    return engine


def threads_at_once(at_once: int) -> int:
    """Return the threads for each of so many bundles that are classified at once on this machine."""
    return max(1, available_cores() // at_once)


@contextmanager
def _spared_from_collection() -> Iterator[None]:
    """Exclude what is loaded by now from garbage collection, which took as long as all else for a record."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
