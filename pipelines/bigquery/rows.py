"""Rows of a result table, read back: for `only: stale`, and for a look at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.bigquery.clients import rest_client
from pipelines.bigquery.names import TableName
from pipelines.bigquery.read import stream_batches, streams_of


def rows_of(table: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield some columns of a table's rows."""
    for stream in streams_of(TableName.parse(table), columns):
        for batch in stream_batches(stream):
            for row in batch.to_pylist():
                if row.get("labels") == [] and row["label"] is not None:
                    row["labels"] = None  # BigQuery has no lists that are null
                yield row


def first_rows(table: str, count: int) -> list[dict[str, Any]]:
    """Return some of a table's rows, in no order; reading them costs nothing."""
    name = TableName.parse(table)
    return [dict(row) for row in rest_client(name.project).list_rows(str(name), max_results=count)]
