"""An Answer as the bytes that caches keep, and back; bytes that were damaged or belong elsewhere are no answer."""

from __future__ import annotations

import zlib

import orjson

from classer_core.records import Answer, LabelConfidence

CHECK_BYTES = 4


def to_entry(key: bytes, answer: Answer) -> bytes:
    """A checksum over key and answer, then the answer's fields as a JSON list."""
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


def from_entry(key: bytes, entry: bytes) -> Answer | None:
    """The answer that was kept under this key; None if these bytes are not what was kept."""
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
