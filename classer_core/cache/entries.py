"""An Answer as the bytes that caches keep, and back; bytes that were damaged or belong elsewhere are not an answer."""

from __future__ import annotations

import zlib
from typing import Any

import orjson

from classer_core.records import Answer, LabelConfidence

CHECK_BYTES = 4
# 200 labels of 100 characters take a tenth of it.
MAX_ENTRY_BYTES = 1 << 20


def to_entry(key: bytes, answer: Answer) -> bytes:
    """Return a checksum over key and answer, then the answer's fields as a JSON list."""
    labels = None if answer.labels is None else [(item.label, item.confidence) for item in answer.labels]
    body = orjson.dumps(
        (
            answer.label,
            labels,
            answer.confidence,
            answer.tokens,
            answer.visual_tokens,
            answer.model,
            answer.coverage,
            answer.evidence,
        )
    )
    return _check(key, body) + body


def from_entry(key: bytes, entry: Any) -> Answer | None:
    """Return the answer that was kept under this key; None if the entry is not one that `to_entry` made for it.

    The checksum finds damage. It does not find forgeries: the values of the answer may be of any type, and
    `is_answer_to` says whether they are possible.
    """
    if not isinstance(entry, bytes) or len(entry) > MAX_ENTRY_BYTES:
        return None
    body = entry[CHECK_BYTES:]
    if entry[:CHECK_BYTES] != _check(key, body):
        return None
    try:
        label, labels, confidence, tokens, visual_tokens, model, coverage, evidence = orjson.loads(body)
        named = None if labels is None else [LabelConfidence(*item) for item in labels]
    except (ValueError, TypeError):
        return None
    return Answer(label, named, confidence, tokens, visual_tokens, model, coverage, evidence)


def _check(key: bytes, body: bytes) -> bytes:
    return zlib.crc32(body, zlib.crc32(key)).to_bytes(CHECK_BYTES, "big")
