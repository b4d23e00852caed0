"""A run from its job to its exit code: what `classer run` and the template for Dataflow and Airflow do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from classer_core.errors import StorageError, TooManyFailuresError, UnreadableFilesError
from pipelines.job.model import Job
from runners.console import err, out
from runners.exits import exit_codes

if TYPE_CHECKING:
    from runners.summary import RunSummary


def finish(
    load: Callable[[], Job],
    folder: Path,
    runner: str,
    beam_args: Sequence[str],
    preview: int = 0,
    page: str | None = None,
) -> RunSummary | None:
    """Runs a job and shows what it did; None where the runner only took it, to begin later.

    Args:
        load: loads the job.
        folder: file names in ids are relative to it.
        runner: as `run_job` takes it.
        beam_args: Beam's own pipeline options.
        preview: rows to show.
        page: where the page of `classer report` goes, if anywhere.

    Raises:
        typer.Exit: with the exit code of what went wrong, which is its cause.
    """
    with exit_codes():
        job = load()
        # Beam is imported for a job that is right: what is wrong with another one is said at once.
        from pipelines import shown
        from runners.alarm import Watch
        from runners.local import run_job

        watch = Watch.of(job)
        shown.begin(preview)
        try:
            summary = run_job(job, folder, runner, beam_args, err)
        except StorageError as error:
            message = f"{error}. The last output stays as it was. Run the job again when the storage is well."
            raise StorageError(message) from error
        except (TooManyFailuresError, UnreadableFilesError) as error:
            _show(job, error.summary, preview if error.summary.is_published else 0)
            raise
    if summary is not None:
        _show(job, summary, preview)
        if page is not None:
            _write_page(job, page)
        if watch is not None:
            with exit_codes():
                watch.check(job, summary)
    return summary


def _show(job: Job, summary: RunSummary, preview: int) -> None:
    if preview:
        _show_rows(job, preview)
    _show_summary(summary)


def _write_page(job: Job, page: str) -> None:
    from runners.reporting import report_of_job, write_report

    with exit_codes():
        write_report(report_of_job(job), page)
    out.print(f"page      {page}", markup=False, highlight=False, soft_wrap=True)


def _show_rows(job: Job, count: int) -> None:
    """Show some rows; a run that is finished does not fail because they can't be read."""
    from runners.preview import preview

    try:
        table = preview(job, count)
    except Exception as error:  # whatever a storage raises
        err.print(f"No preview: the rows can't be read: {type(error).__name__}", style="yellow", markup=False)
        return
    out.print(table)
    if not table.row_count:
        out.print("No preview: this process has seen no rows.", markup=False)
    out.print()


def _show_summary(summary: RunSummary) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    rate = summary.records / max(summary.seconds, 1e-9)
    table.add_row("records", f"{summary.records:,}")
    table.add_row("results", f"{summary.results:,}")
    seldom = {
        "of them abstained": summary.abstained,
        "of them cached": summary.cached,
        "of them there already": summary.duplicates,
        "in the table already": summary.current,
        "left for the next run": summary.postponed,
        "errors of the cache": summary.cache_errors,
        **{f"failed: {code}": count for code, count in summary.failures.items()},
    }
    for name, count in seldom.items():
        if count:
            table.add_row(name, f"{count:,}")
    if summary.estimated_accuracy is not None:
        table.add_row("estimated accuracy", f"{summary.estimated_accuracy:.1%}")
    table.add_row("tokens read", f"{summary.tokens:,}")
    if summary.chunk_records:
        table.add_row("records a chunk (mean)", f"{summary.chunk_records.mean:,.0f}")
    table.add_row("seconds", f"{summary.seconds:,.1f} ({rate:,.0f} records/s)")
    table.add_row("of them in the model", f"{summary.model_ms / 1000:,.1f}")
    out.print(table)
    if not summary.is_published:
        return
    out.print(f"results   {summary.output}", markup=False, highlight=False, soft_wrap=True)
    if summary.failures:
        out.print(f"failures  {summary.failures_path}", markup=False, highlight=False, soft_wrap=True)
