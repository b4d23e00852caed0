"""The tokenizer of multilingual-e5-small, made from the vocabulary that its package ships."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from classer_core.models.e5_file import E5File

if TYPE_CHECKING:
    from tokenizers import Tokenizer, normalizers

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
SPACE = "▁"
# Control characters that are dropped, and characters that become a space, before NFKC.
# Source: the rule "nmt_nfkc" of sentencepiece, with which the vocabulary was learned (`builder.cc`).
DROPPED = "[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]"
SPACES = "[\u0009\u000a\u000c\u000d\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"
# Characters that are tokenized before the whole tokenizer is built.
FIRST_CHARS = 4_000


class TextTokens(NamedTuple):
    """The token ids of one text, and which of them are special tokens (1) and which are not (0)."""

    ids: list[int]
    special_tokens_mask: list[int]


class FirstTextsTokenizer:
    """The tokenizer, usable at once; the whole of it is built when more than a few short texts have come.

    Building it from 250,000 pieces takes half a second, a fifth of what one text took in a fresh process. The best
    split of a text consists of pieces that occur in the text, so a tokenizer of those pieces gives the same tokens.

    Its methods are those of `tokenizers.Tokenizer` that `windows.Tokenizer` calls.
    """

    def __init__(self, file: E5File) -> None:
        self._file = file
        self._ids = {piece: number for number, piece in enumerate(file.pieces)}
        self._longest = max(map(len, file.pieces))
        # Unknown characters score relative to the lowest score of all pieces.
        self._always = {BEGIN, END, UNKNOWN, file.pieces[int(file.piece_scores.argmin())]}
        self._chars_left = FIRST_CHARS
        self._whole: Tokenizer | None = None
        self._lock = threading.Lock()

    def no_truncation(self) -> None:
        """Do nothing: texts are never cut."""

    def no_padding(self) -> None:
        """Do nothing: texts are never padded."""

    def encode(self, text: str, add_special_tokens: bool = True) -> TextTokens:
        """Return the tokens of one text."""
        return self.encode_batch_fast([text], add_special_tokens)[0]

    def encode_batch_fast(self, texts: Sequence[str], add_special_tokens: bool = True) -> list[TextTokens]:
        """Return the tokens of each text."""
        self._chars_left -= sum(map(len, texts))
        if self._chars_left < 0:
            encodings = self._built().encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
            return [TextTokens(encoding.ids, encoding.special_tokens_mask) for encoding in encodings]
        numbers = sorted({self._ids[piece] for piece in self._always | self._pieces_in(texts)})
        small = _tokenizer([(self._file.pieces[n], float(self._file.piece_scores[n])) for n in numbers])
        return [
            TextTokens([numbers[n] for n in encoding.ids], encoding.special_tokens_mask)
            for encoding in small.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
        ]

    def _pieces_in(self, texts: Iterable[str]) -> set[str]:
        """Return the pieces that occur in any of the texts."""
        normalizer = _normalizer()
        pieces: set[str] = set()
        for text in texts:
            split = SPACE + normalizer.normalize_str(text).replace(" ", SPACE)
            ends = ((start, end) for start in range(len(split)) for end in range(start + 1, start + 1 + self._longest))
            pieces.update(piece for start, end in ends if (piece := split[start:end]) in self._ids)
        return pieces

    def _built(self) -> Tokenizer:
        with self._lock:
            if self._whole is None:
                self._whole = tokenizer(self._file)
            return self._whole


def tokenizer(file: E5File) -> Tokenizer:
    """Return the Unigram tokenizer: `<s>`, the pieces of the text, `</s>`."""
    return _tokenizer(list(zip(file.pieces, file.piece_scores.tolist(), strict=True)))


def _tokenizer(vocabulary: list[tuple[str, float]]) -> Tokenizer:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    pieces = [piece for piece, _ in vocabulary]
    unigram = Tokenizer(models.Unigram(vocabulary, unk_id=pieces.index(UNKNOWN)))
    unigram.normalizer = _normalizer()
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    special = [(piece, pieces.index(piece)) for piece in (BEGIN, END)]
    unigram.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A {END}", special_tokens=special)
    return unigram


def _normalizer() -> normalizers.Normalizer:
    from tokenizers import Regex, normalizers

    return normalizers.Sequence(
        [
            normalizers.Replace(Regex(DROPPED), ""),
            normalizers.Replace(Regex(SPACES), " "),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
