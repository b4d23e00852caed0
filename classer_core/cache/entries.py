"""Encode answers as cache entries and decode them; damaged entries and those of other fingerprints are rejected."""

from __future__ import annotations

import zlib
from typing import Any

import orjson

from classer_core.records import Answer, LabelConfidence

CHECK_BYTES = 4
# An answer with 200 labels of 100 characters is a tenth of this.
MAX_ENTRY_BYTES = 1 << 20


def to_entry(key: bytes, answer: Answer) -> bytes:
    """Return an answer's entry: a checksum over key and answer, then the answer's fields as a JSON list.

    >>> answer = Answer("spam", None, 0.9, 12, None, "embedded@1", 1.0)
    >>> from_entry(b"key", to_entry(b"key", answer)) == answer, from_entry(b"other", to_entry(b"key", answer))
    (True, None)
    """
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
    """Return the answer in an entry; None if `to_entry` did not make the entry for this key.

    The checksum detects damage, but not forgery: the answer's fields may have any type, and `is_answer_to` checks them.
    """
    if not isinstance(entry, bytes) or len(entry) > MAX_ENTRY_BYTES:
        return None
    body = entry[CHECK_BYTES:]
    if entry[:CHECK_BYTES] != _check(key, body):
        return None
    try:
        label, labels, confidence, tokens, visual_tokens, model, coverage, evidence = orjson.loads(body)
        confidences = None if labels is None else [LabelConfidence(*item) for item in labels]
    except (ValueError, TypeError):
        return None
    return Answer(label, confidences, confidence, tokens, visual_tokens, model, coverage, evidence)


def _check(key: bytes, body: bytes) -> bytes:
    return zlib.crc32(body, zlib.crc32(key)).to_bytes(CHECK_BYTES, "big")
