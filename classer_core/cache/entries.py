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
    body = orjson.dumps(
        (
            answer.label,
            _pairs(answer.labels),
            answer.confidence,
            answer.tokens,
            answer.visual_tokens,
            answer.model,
            answer.coverage,
            answer.evidence,
            *([] if answer.scores is None else [_pairs(answer.scores)]),
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
        label, labels, confidence, tokens, visual_tokens, model, coverage, evidence, *scores = orjson.loads(body)
        lists = [None if pairs is None else [LabelConfidence(*item) for item in pairs] for pairs in (labels, *scores)]
    except (ValueError, TypeError):
        return None
    if len(lists) > 2:
        return None
    scored = lists[1] if scores else None
    return Answer(label, lists[0], confidence, tokens, visual_tokens, model, coverage, evidence, scored)


def _pairs(labels: list[LabelConfidence] | None) -> list[tuple[str, float]] | None:
    return None if labels is None else [(item.label, item.confidence) for item in labels]


def _check(key: bytes, body: bytes) -> bytes:
    return zlib.crc32(body, zlib.crc32(key)).to_bytes(CHECK_BYTES, "big")
