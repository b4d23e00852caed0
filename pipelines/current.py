"""Rows that an output holds as they would be written again: they are told by their key and their fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from classer_core.abstaining import Abstention
from pipelines.chunks import Chunk


def is_settled(row: Mapping[str, Any], abstention: Abstention, mode: str | None) -> bool:
    """Return whether a job would still abstain where the row did, and only there, and say the same then."""
    if row["confidence"] is None:
        return not row["abstained"]
    abstains = row["confidence"] < abstention.min_confidence
    same = mode == "multi" or row["label"] == abstention.fallback_label
    return abstains == row["abstained"] and (same or not abstains)


def current_key(key: Sequence[Any], fingerprint: bytes) -> bytes:
    """Return what tells a row with this key and this fingerprint from all others, and from fingerprints."""
    plain = [format(value.normalize(), "f") if isinstance(value, Decimal) else str(value) for value in key]
    return b"row" + hashlib.sha256(repr(plain).encode() + fingerprint).digest()


def chunk_keys(chunk: Chunk, key: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the key of each record of a chunk."""
    columns: list[list[Any]] = []
    for name in key:
        if name == "id":
            columns.append([record.id for record in chunk.records])
        else:
            passed = name.removeprefix("input_") if name not in chunk.rows.schema.names else name
            columns.append(chunk.rows.column(passed).to_pylist())
    return list(zip(*columns, strict=True))
