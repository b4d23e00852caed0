"""Tokenizer: split texts of any length into windows of token ids, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

TokenIds = npt.NDArray[np.int32]

MAX_TEXT_TOKENS = 1_000_000
# Tokenizers keep about 150 bytes of offsets and strings per token, so that long texts are tokenized in pieces.
PIECE_CHARS = 16_384
PIECES_AT_ONCE = 64
# Pieces end at white space if there is any in this many last characters.
CUT_SEARCH_CHARS = 256
_WHITE_SPACE = re.compile(r"\s")


class Tokenizer:
    """Splits texts into windows with a Hugging Face fast tokenizer.

    Args:
        backend: a `tokenizers.Tokenizer`; its truncation and padding are switched off.
        window_tokens: most tokens of a window, special tokens included.
        prompt: text before every window, such as "query: ".
    """

    def __init__(self, backend: Any, window_tokens: int, prompt: str = "") -> None:
        self._backend = backend
        backend.no_truncation()
        backend.no_padding()
        prefix, suffix = _special_tokens(backend)
        prompt_ids = backend.encode(prompt, add_special_tokens=False).ids if prompt else []
        self._before = np.array([*prefix, *prompt_ids], dtype=np.int32)
        self._after = np.array(suffix, dtype=np.int32)
        self._room = window_tokens - len(self._before) - len(self._after)

    def windows(self, texts: Sequence[str]) -> list[list[TokenIds] | None]:
        """Return the windows of each text, special tokens included; None for more than `MAX_TEXT_TOKENS` tokens."""
        return [None if ids is None else self._split(ids) for ids in tokenize(self._backend, texts)]

    def _split(self, ids: TokenIds) -> list[TokenIds]:
        return [np.concatenate([self._before, part, self._after]) for part in split(ids, self._room)]


def tokenize(backend: Any, texts: Sequence[str]) -> list[TokenIds | None]:
    """Return the token ids of each text without special tokens; None for more than `MAX_TEXT_TOKENS` tokens.

    Args:
        backend: a `tokenizers.Tokenizer` without truncation and padding, or an object with its methods.
        texts: of any length.
    """
    short = [index for index, text in enumerate(texts) if len(text) <= PIECE_CHARS]
    tokens: list[TokenIds | None] = [None] * len(texts)
    for index, ids in zip(short, _encode(backend, [texts[index] for index in short]), strict=True):
        tokens[index] = ids
    for index, text in enumerate(texts):
        if len(text) > PIECE_CHARS:
            tokens[index] = _tokenize_long(backend, text)
    return tokens


def split(ids: TokenIds, room: int) -> list[TokenIds]:
    """Return the ids in parts of at most `room` tokens and of equal size: a short last one would cost a batch.

    >>> [len(part) for part in split(np.arange(10, dtype=np.int32), room=4)]
    [4, 3, 3]
    """
    return list(np.array_split(ids, max(1, -(-len(ids) // room))))


def _tokenize_long(backend: Any, text: str) -> TokenIds | None:
    parts: list[TokenIds] = []
    total = 0
    pieces = cut(text)
    while group := list(islice(pieces, PIECES_AT_ONCE)):
        for ids in _encode(backend, group):
            parts.append(ids)
            total += len(ids)
        if total > MAX_TEXT_TOKENS:
            return None
    return np.concatenate(parts)


def _encode(backend: Any, texts: Sequence[str]) -> list[TokenIds]:
    encodings = backend.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]


def cut(text: str) -> Iterator[str]:
    """Yield a text in pieces of at most `PIECE_CHARS` characters, cut at white space where possible.

    >>> [len(piece) for piece in cut("word " * 4_000)]
    [16379, 3621]
    """
    start = 0
    while len(text) - start > PIECE_CHARS:
        end = start + PIECE_CHARS
        # Text without white space (Chinese, base64) is cut anywhere.
        spaces = [match.start() for match in _WHITE_SPACE.finditer(text, end - CUT_SEARCH_CHARS, end)]
        end = spaces[-1] if spaces else end
        yield text[start:end]
        start = end
    yield text[start:]


def _special_tokens(backend: Any) -> tuple[list[int], list[int]]:
    """Return the ids of the special tokens before and after a text."""
    encoding = backend.encode("a")
    mask = list(encoding.special_tokens_mask)
    first, last = mask.index(0), len(mask) - 1 - mask[::-1].index(0)
    return list(encoding.ids[:first]), list(encoding.ids[last + 1 :])
