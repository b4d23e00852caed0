"""`classer shares`: how many rows have each label, with intervals that know of the classifier's mistakes."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Column, Table

from runners.commands.evaluate import GoldFile
from runners.console import JobFile, Overrides, drop_noise, out, plain
from runners.exits import exit_codes


def shares(
    job_file: JobFile,
    gold: GoldFile,
    gold_column: Annotated[str, typer.Option(metavar="NAME", help="The column of the right labels.")] = "label",
    weight_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="One over the probability with which a gold row was drawn.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    overrides: Overrides = None,
) -> None:
    """Says which share of a job's rows has each label, corrected by gold rows that were drawn from them by chance.

    The job's output is read; nothing is classified.
    """
    from pipelines.job import load_job

    drop_noise()
    with exit_codes():
        job = load_job(job_file, overrides or [])
        from runners.shares import shares_of

        found = shares_of(job, str(job_file.resolve().parent), gold, gold_column, weight_column)
    if as_json:
        rows = [asdict(item) | {"low": item.low, "high": item.high} for item in found.shares]
        print(json.dumps({"rows": found.rows, "gold": found.gold, "shares": rows}, indent=2, ensure_ascii=False))
        return
    right = [Column(name, justify="right") for name in ("share", "95% interval", "as answered", "gold rows alone")]
    table = Table(Column("label", max_width=40, no_wrap=True), *right, box=None, pad_edge=False, header_style="bold")
    for item in found.shares:
        share = f"{item.share:.1%} +- {100 * item.error:.1f}"
        alone = f"{item.gold:.1%} +- {100 * item.gold_error:.1f}"
        table.add_row(plain(item.label), share, f"{item.low:.1%} - {item.high:.1%}", f"{item.counted:.1%}", alone)
    out.print(table)
    out.print(f"of {found.rows:,} rows, by {found.gold:,} gold rows", highlight=False)
