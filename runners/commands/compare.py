"""`classer compare`: what would change if a job asked with another version of its classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from runners.console import JobFile, Overrides, drop_noise, err, out, plain
from runners.exits import EXIT_WRONG_JOB, exit_codes

if TYPE_CHECKING:
    from classer_core.comparison import Comparison


def compare(
    job_file: JobFile,
    other: Annotated[str, typer.Option("--with", metavar="NAME@vN", help="The saved classifier to compare with.")],
    classifier: Annotated[str | None, typer.Option(metavar="NAME@vN", help="Instead of the job's own.")] = None,
    sample: Annotated[int, typer.Option(min=1, metavar="N", help="Records of the source to look at.")] = 1_000,
    rows: Annotated[int, typer.Option(min=0, metavar="N", help="Changed rows to show.")] = 20,
    overrides: Overrides = None,
) -> None:
    """Compares two classifiers on a sample of a job's records: agreement, confusion, and the rows that change."""
    from pipelines.job import load_job

    drop_noise()
    with exit_codes():
        job = load_job(job_file, overrides or [])
        second = job.saved_classifier(other)
        first = job.saved_classifier(classifier) if classifier else job.request_parser().classifier
        if first is None:
            err.print("the job has no classifier of its own: give --classifier", style="red", markup=False)
            raise typer.Exit(EXIT_WRONG_JOB)
        from classer_core import comparison
        from classer_core.cached import load_cached_engine
        from pipelines.sample import sample_records
        from runners.local import cache_url

        engine = load_cached_engine(cache_url(job), job.model, job.visual_model, job.page_overflow)
        records = sample_records(job, str(job_file.resolve().parent), sample)
    _show(comparison.compare(engine, records, first, second), (first.name, second.name), rows)


def _show(found: Comparison, names: tuple[str, str], rows: int) -> None:
    from classer_core.comparison import answer_of

    out.print(
        f"{found.agreement:.1%} of {found.compared:,} records get the same answer; {len(found.changed):,} change\n",
        highlight=False,
    )
    table = Table(*names, Column("records", justify="right"), box=None, pad_edge=False)
    for (one, other), count in sorted(found.confusion.items(), key=lambda item: (-item[1], item[0])):
        style = "" if one == other else "bold"
        table.add_row(plain(one, style), plain(other, style), f"{count:,}")
    out.print(table)
    if found.changed and rows:
        out.print()
        answers = [Column(name, no_wrap=True) for name in names]
        table = Table("id", Column("text", no_wrap=True, max_width=40), *answers, box=None, pad_edge=False)
        for change in found.changed[:rows]:
            text = " ".join(change.record.text.split()[:50])
            given = [f"{answer_of(one)} {one.confidence or 0:.2f}" for one in (change.first, change.second)]
            table.add_row(plain(change.record.id), plain(text), *map(plain, given))
        out.print(table)
    if found.failed:
        out.print(f"\n{len(found.failed):,} records could not be classified", highlight=False)
