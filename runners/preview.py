"""The first rows of an output as a table, for people who want to look at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import orjson
import pyarrow.parquet as pq
from rich.table import Column, Table

from classer_core.storage import join
from pipelines import shown
from pipelines.job import Job
from pipelines.job.sections import BigQueryOutput, KafkaOutput, PubSubOutput
from pipelines.storage import match_files, open_file
from pipelines.writers.publish import output_files
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
    if isinstance(job.output, KafkaOutput | PubSubOutput):
        return shown.first()[:count]
    if isinstance(job.output, BigQueryOutput):
        from pipelines.bigquery.current import first_rows as first_of_table

        return first_of_table(job.output, count)
    rows: list[dict[str, Any]] = []
    for path in written_files(job):
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


def written_files(job: Job) -> list[str]:
    """Return the files of a job's folder: of a stream, those of its newest hour."""
    if not job.source.is_stream:
        return sorted(output_files(job.output.path))
    found = sorted(match_files([join(job.output.path, "date=*", "hour=*", "part-*")]))
    newest = found[-1].rpartition("/")[0] if found else ""
    return [path for path in found if path.rpartition("/")[0] == newest]
