"""The first rows of an output as a table, for people who want to look at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Column, Table

from pipelines.job.model import Job
from runners.console import plain


def preview(job: Job, count: int) -> Table:
    """Return a table of the first `count` result rows of a finished job."""
    column = job.column_of("text") or ""
    table = Table("id", Column(column, no_wrap=True, max_width=48), "label", "confidence", box=None, pad_edge=False)
    for row in first_rows(job, count):
        labels = [item["label"] for item in row.get("labels") or ()] or [row.get("label")]
        confidence = "" if row.get("confidence") is None else f"{row['confidence']:.2f}"
        text = " ".join(str(row.get(column, "")).split())
        table.add_row(plain(str(row["id"])), plain(text), plain(", ".join(filter(None, labels))), confidence)
    return table


def first_rows(job: Job, count: int) -> Sequence[Mapping[str, Any]]:
    """Return the first `count` rows of a job's output; of a topic, those that this process has sent."""
    return job.output.first_rows(count, job.source.is_stream)
