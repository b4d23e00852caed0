"""`classer report`: what came out of a run, as one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from runners.console import drop_noise, out, plain
from runners.exits import exit_codes

if TYPE_CHECKING:
    from classer_core.reports import RunReport

LABELS_SHOWN = 15
Output = Annotated[str, typer.Argument(metavar="OUTPUT", help="A folder of results, or the job file.")]


def report(
    output: Output,
    html: Annotated[str, typer.Option(metavar="FILE", help="Where the page goes: a path or URL.")] = "report.html",
    json_file: Annotated[str | None, typer.Option("--json", metavar="FILE", help="Also all figures, as JSON.")] = None,
    against: Annotated[str | None, typer.Option(metavar="FOLDER", help="An earlier output to compare with.")] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Hides texts, messages and records.")] = False,
    text: Annotated[str | None, typer.Option(metavar="NAME", help="The column of the texts.")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Of a million tokens; a job's own is its prices.")] = None,
) -> None:
    """Shows what came out of a run on one page: labels, confidence, failures, the least sure rows, and what changed."""
    drop_noise()
    with exit_codes():
        from runners.reporting import is_job_file, report_of_folder, report_of_job, write_report

        if is_job_file(output):
            from pipelines.job import load_job

            prices = [] if price is None else [f"prices.tokens={price}"]
            found = report_of_job(load_job(output, prices), redact, against, text)
        else:
            found = report_of_folder(output, redact, against, text, price)
        write_report(found, html, json_file)
    _show(found)
    out.print(f"page  {html}", markup=False, highlight=False, soft_wrap=True)


def _show(found: RunReport) -> None:
    right = [Column(name, justify="right") for name in ("rows", "share", "confidence", "before", "")]
    kept = right if found.against is not None else right[:3]
    table = Table(Column("label", max_width=40, no_wrap=True), *kept, box=None, pad_edge=False, header_style="bold")
    for row in found.labels[:LABELS_SHOWN]:
        confidence = "" if row.confidence is None else f"{row.confidence:.1%}"
        cells = [f"{row.count:,}", f"{row.share:.1%}", confidence, f"{row.earlier or 0:.1%}", "changed" * row.moved]
        table.add_row(plain(row.label or "(no label)"), *cells[: len(kept)])
    out.print(table)
    if len(found.labels) > LABELS_SHOWN:
        out.print(f"({LABELS_SHOWN} of {len(found.labels)} labels; the page has all)")
    out.print(f"{found.rows:,} results, {found.failed:,} failures", highlight=False)
