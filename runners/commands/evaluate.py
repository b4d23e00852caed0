"""`classer evaluate`: how good a job's classifier is on rows whose right labels are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runners.console import JobFile, Overrides, drop_noise, err, out
from runners.exits import exit_codes

GoldFile = Annotated[
    str, typer.Option(metavar="FILE", help="CSV, NDJSON or Parquet: records with labels, or ids with labels.")
]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Writes the report as JSON.")]
HtmlFile = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Writes the report as one HTML page.")]


def evaluate(
    job_file: JobFile,
    gold: GoldFile,
    gold_column: Annotated[str, typer.Option(metavar="NAME", help="The column of the right labels.")] = "label",
    precision: Annotated[float, typer.Option(min=0, max=1, help="Looks for the threshold that gives it.")] = 0.95,
    json_file: JsonFile = None,
    html_file: HtmlFile = None,
    overrides: Overrides = None,
) -> None:
    """Judges a job's answers on rows whose right labels are known.

    Gold rows go through the job's own pipeline. Without a text or file of their own, they are found by id among the
    job's records.
    """
    from pipelines.job import load_job

    drop_noise()
    with exit_codes():
        job = load_job(job_file, overrides or [])
        from classer_core.evaluation import render_page
        from runners.evaluation import evaluate_job
        from runners.evaluation_tables import show_report

        for file in filter(None, (json_file, html_file)):
            file.parent.mkdir(parents=True, exist_ok=True)
        report = evaluate_job(job, job_file, gold, gold_column, precision, err)
    show_report(report, out)
    if json_file:
        json_file.write_bytes(report.to_json())
        out.print(f"json  {json_file}", markup=False, highlight=False, soft_wrap=True)
    if html_file:
        html_file.write_text(render_page(report), encoding="utf-8")
        out.print(f"html  {html_file}", markup=False, highlight=False, soft_wrap=True)
