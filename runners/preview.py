"""The first rows of an output as a table, for people who want to look at once."""

from __future__ import annotations

from itertools import islice
from typing import Any

import orjson
import pyarrow.parquet as pq
from rich.table import Column, Table

from pipelines.job import Job
from pipelines.job.sections import BigQueryOutput
from pipelines.storage import open_file
from pipelines.writers.files import ours
from runners.console import plain


def preview(job: Job, count: int) -> Table:
    """A finished job in, a table of its first `count` result rows out."""
    column = job.column_of("text") or ""
    table = Table("id", Column(column, no_wrap=True, max_width=48), "label", "confidence", box=None, pad_edge=False)
    for row in first_rows(job, count):
        labels = [row["label"]] if not row["labels"] else [item["label"] for item in row["labels"]]
        confidence = "" if row["confidence"] is None else f"{row['confidence']:.2f}"
        text = " ".join(str(row.get(column, "")).split())
        table.add_row(plain(row["id"]), plain(text), plain(", ".join(filter(None, labels))), confidence)
    return table


def first_rows(job: Job, count: int) -> list[dict[str, Any]]:
    """The first `count` rows of a job's output."""
    if isinstance(job.output, BigQueryOutput):
        from pipelines.bigquery.current import first_rows as first_of_table

        return first_of_table(job.output, count)
    rows: list[dict[str, Any]] = []
    for path in sorted(ours(job.output.path)):
        if len(rows) >= count:
            break
        with open_file(path) as file:
            if job.output.format == "parquet":
                for batch in pq.ParquetFile(file).iter_batches(count - len(rows)):
                    rows += batch.to_pylist()
                    break
            else:
                rows += [orjson.loads(line) for line in islice(file, count - len(rows))]
    return rows
