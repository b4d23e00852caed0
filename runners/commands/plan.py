"""`classer plan`: what a run would do, take and cost, before anything is spent."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from runners.console import JobFile, Overrides, drop_noise, out
from runners.exits import exit_codes

if TYPE_CHECKING:
    from runners.planning import Estimate, Plan


def plan(
    job_file: JobFile,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Also the time on N machines like this one.")] = 1,
    sample: Annotated[int, typer.Option(min=1, metavar="N", help="Contents to classify for the estimates.")] = 400,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    overrides: Overrides = None,
) -> None:
    """Says what a run of a job would do: records, distinct contents, tokens, time and cost.

    The source is read once, and a sample of what no cache and no last output answers is classified; nothing is written.
    """
    from pipelines.job import load_job

    drop_noise()
    with exit_codes():
        job = load_job(job_file, overrides or [])
        from runners.planning import plan_job

        found = plan_job(job, str(job_file.resolve().parent), workers, sample)
    if as_json:
        print(json.dumps(found.to_mapping(), indent=2))
        return
    table = Table(Column(), Column(justify="right"), show_header=False, box=None, pad_edge=False)
    for row in table_rows(found):
        table.add_row(*row)
    out.print(table)
    basis = f"Tokens and time from {found.sampled:,} of {found.to_read:,} contents"
    failed = f"; {found.sample_failed:,} of them failed" if found.sample_failed else ""
    if found.to_read:
        out.print(f"{basis}, with 95% intervals{failed}.", highlight=False)
    out.print(f"run it: classer run {job_file}", markup=False, highlight=False, soft_wrap=True)


def table_rows(plan: Plan) -> Iterable[tuple[str, str]]:
    """Yield (name, value) of a plan for people."""
    yield "records", f"{plan.records:,}"
    for code, count in plan.failures.items():
        yield f"  would fail: {code}", f"{count:,}"
    if plan.current:
        yield "  in the table already", f"{plan.current:,}"
    yield "distinct contents", f"{plan.distinct:,}"
    yield "  answered by the last output", f"{plan.from_last_output:,}"
    yield "  answered by the cache", f"{plan.from_cache:,}"
    yield "  to be read", f"{plan.to_read:,}"
    if plan.pages is not None:
        yield "pages and pictures", shown(plan.pages)
    yield "tokens", shown(plan.tokens)
    yield "time on this machine", duration(plan.seconds)
    if plan.workers > 1:
        yield f"time on {plan.workers} such workers", duration(plan.seconds_on_workers)
    if plan.cost is not None:
        yield "cost", f"{shown(plan.cost, 2)} {plan.currency}"


def shown(estimate: Estimate, decimals: int = 0) -> str:
    """Return an estimate for people.

    >>> from runners.planning import Estimate
    >>> shown(Estimate(1234567.8, 1500)), shown(Estimate(12)), shown(Estimate(1.234, 0.05), 2)
    ('1,234,568 +- 1,500', '12', '1.23 +- 0.05')
    """
    error = f" +- {estimate.error:,.{decimals}f}" if estimate.error else ""
    return f"{estimate.value:,.{decimals}f}{error}"


def duration(seconds: float) -> str:
    """Return a time for people.

    >>> duration(42.4), duration(3_700), duration(200_000)
    ('42 s', '1 h 02 min', '55 h 33 min')
    """
    if seconds < 100:
        return f"{seconds:,.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
