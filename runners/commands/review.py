"""`classer review`: a page on this machine, on which people correct the answers that teach most."""

from __future__ import annotations

import re
import webbrowser
from typing import Annotated

import typer

from runners.console import JobFile, Overrides, drop_noise, out
from runners.exits import exit_codes

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def review(
    job_file: JobFile,
    save: Annotated[str, typer.Option(metavar="NAME", help="Answers go to NAME.gold.ndjson beside the job file.")],
    rows: Annotated[int, typer.Option(min=1, metavar="N", help="Rows to review.")] = 100,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Of the page; 0 for any free one.")] = 0,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Opens the page in the browser.")] = True,
    overrides: Overrides = None,
) -> None:
    """Shows rows of a job's output on a local page, to be given their right labels; answers are saved at once."""
    from pipelines.job import load_job

    if not NAME.fullmatch(save):
        raise typer.BadParameter("give a name of letters, digits, - and _", param_hint="--save")
    drop_noise()
    with exit_codes():
        job = load_job(job_file, overrides or [])
        from runners.review.rows import review_of
        from runners.review.server import ReviewServer

        file = job_file.resolve().parent / f"{save}.gold.ndjson"
        queue = review_of(job, file, rows)
    command = f"classer tune {job_file} --gold {file} --save {save}"
    server = ReviewServer(queue, job_file.name, command, port)
    out.print(f"review  {server.address}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"gold    {file}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"next    {command}\nCtrl+C ends.", markup=False, highlight=False, soft_wrap=True)
    if show:
        webbrowser.open(server.address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        out.print(f"{queue.state()['done']:,} rows are reviewed")
    finally:
        server.server_close()
