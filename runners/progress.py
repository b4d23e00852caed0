"""How far a run is: a bar on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipelines import progress
from pipelines.job.model import Job

BAR_S, LINE_S = 0.2, 60.0


@contextmanager
def shown_progress(console: Console | None, job: Job) -> Iterator[None]:
    """Show how many records are done, as long as the context lasts; nothing without a console."""
    if console is None:
        yield
        return
    total = job.bounded_source.count_rows() if job.stream is None else None
    columns = [SpinnerColumn(), TextColumn("records"), BarColumn(), MofNCompleteColumn()]
    bar = Progress(*columns, TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), console=console, transient=True)
    task = bar.add_task("records", total=total, rate="")

    def move(done: int, rate: str) -> None:
        bar.update(task, completed=done, rate=rate)

    def print_line(done: int, rate: str) -> None:
        of = "" if total is None else f" of {total:,}"
        console.print(f"{done:,}{of} records, {rate}", markup=False, highlight=False, soft_wrap=True)

    show, every_s = (move, BAR_S) if console.is_terminal else (print_line, LINE_S)
    with bar if console.is_terminal else nullcontext(), _repeated(show, every_s):
        yield


@contextmanager
def _repeated(show: Callable[[int, str], None], every_s: float) -> Iterator[None]:
    """Call `show` with the number of records and their rate, again and again."""
    stop = threading.Event()
    first, started = progress.done(), time.perf_counter()

    def follow() -> None:
        while not stop.wait(every_s):
            done = progress.done() - first
            show(done, f"{done / (time.perf_counter() - started):,.0f} records/s")

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
