"""What a result table holds already: which rows are current, and answers that need not be given again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from pipelines.bigquery.clients import rest_client
from pipelines.bigquery.names import TableName
from pipelines.bigquery.read import stream_batches, streams_of
from pipelines.chunks import Chunk
from pipelines.job import Job
from pipelines.job.sections import BigQueryOutput


def rows_of(output: BigQueryOutput, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Some columns of a table's rows."""
    for stream in streams_of(TableName.parse(output.table), columns):
        for batch in stream_batches(stream):
            for row in batch.to_pylist():
                if row.get("labels") == [] and row["label"] is not None:
                    row["labels"] = None  # BigQuery has no lists that are null
                yield row


def first_rows(output: BigQueryOutput, count: int) -> list[dict[str, Any]]:
    """Some of a table's rows, any ones; reading them costs nothing."""
    name = TableName.parse(output.table)
    return [dict(row) for row in rest_client(name.project).list_rows(str(name), max_results=count)]


def is_settled(row: dict[str, Any], job: Job) -> bool:
    """Whether a job would still abstain where the row did, and only there, and say the same then."""
    if row["confidence"] is None:
        return not row["abstained"]
    abstains = row["confidence"] < job.abstention.min_confidence
    same = job.mode == "multi" or row["label"] == job.abstention.fallback_label
    return abstains == row["abstained"] and (same or not abstains)


def current_key(key: Sequence[Any], print_: bytes) -> bytes:
    """What tells a row with this key and this fingerprint from all others, and from fingerprints."""
    plain = [format(value.normalize(), "f") if isinstance(value, Decimal) else str(value) for value in key]
    return b"row" + hashlib.sha256(repr(plain).encode() + print_).digest()


def chunk_keys(chunk: Chunk, key: Sequence[str]) -> list[tuple[Any, ...]]:
    """The key of each record of a chunk."""
    columns: list[list[Any]] = []
    for name in key:
        if name == "id":
            columns.append([record.id for record in chunk.records])
        else:
            passed = name.removeprefix("input_") if name not in chunk.rows.schema.names else name
            columns.append(chunk.rows.column(passed).to_pylist())
    return list(zip(*columns, strict=True))
