"""Rows that the output already holds exactly as this run would write them, found by their key and fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from classer_core.abstaining import Abstention
from pipelines.chunks import Chunk, output_schema
from pipelines.outputs import Output


def is_settled(row: Mapping[str, Any], abstention: Abstention, mode: str | None) -> bool:
    """Return whether this job would abstain on a row exactly where its last run did, with the same fallback label."""
    if row["confidence"] is None:
        return not row["abstained"]
    abstains = row["confidence"] < abstention.min_confidence
    same = mode == "multi" or row["label"] == abstention.fallback_label
    return abstains == row["abstained"] and (same or not abstains)


def current_key(key: Sequence[Any], fingerprint: bytes) -> bytes:
    """Return the digest by which `KnownTable` finds a row with this key and this fingerprint."""
    plain = [format(value.normalize(), "f") if isinstance(value, Decimal) else str(value) for value in key]
    return b"row" + hashlib.sha256(repr(plain).encode() + fingerprint).digest()


def current_keys(chunk: Chunk, fingerprints: Sequence[bytes], output: Output) -> list[bytes]:
    """Return what tells the row of each record from others in the output; empty if rows are not merged."""
    if not output.merge_key:
        return []
    scored = any(record.scores for record in chunk.records)
    columns = output.column_names(output_schema(chunk.rows.schema, scored))
    keys = chunk_keys(chunk, output.merge_key, columns)
    return [current_key(*item) for item in zip(keys, fingerprints, strict=True)]


def chunk_keys(chunk: Chunk, key: Sequence[str], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the key of each record of a chunk.

    Args:
        chunk: the records, and the columns that pass through.
        key: columns of the output: `id`, or one that passes through.
        columns: of the output, in the order of the result row (`Output.column_names`).
    """
    passed = dict(zip(columns[len(columns) - chunk.rows.num_columns :], chunk.rows.columns, strict=True))
    ids = [record.id for record in chunk.records]
    return list(zip(*(ids if name == "id" else passed[name].to_pylist() for name in key), strict=True))
