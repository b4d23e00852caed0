"""The exact encoder for models of the BERT family: int8 products, texts packed without padding.

A text's vector has the same bits alone, in any batch, in any order, and with any number of threads:

- Sums of products are sums of integers, which no order changes: weights are int8 with one scale for each output, and
  activations int8 with one scale for each token. Attention works the same way; its float32 matrix products hold
  integers below 2^24, which float32 adds without rounding.
- All else works on one number, one token or one text at a time, never on what happens to stand beside it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from classer_core.batching import batches
from classer_core.models.packed_attention import Attention
from classer_core.models.packed_kernels import (
    GELU,
    GELU_TANH,
    Floats,
    add_and_normalise,
    gelu,
    mean_rows,
    normalise,
    to_unit_length,
)
from classer_core.models.packed_linear import Linear, as_array
from classer_core.models.vectors import rows_of

if TYPE_CHECKING:
    import torch

# So many tokens fill the integer units, and their (tokens, feed-forward) arrays stay in the caches; 256 does as well.
BATCH_TOKENS = 384
# The feed-forward layers take so many tokens at a time: their products stay in the second-level cache.
WIDE_TOKENS = 192
# Attention adds up integers below 2^24 for texts of at most so many tokens.
MAX_TOKENS = 512
WORDS = "embeddings.word_embeddings.weight"
FAMILIES = {"bert", "xlm-roberta", "roberta"}
ACTIVATIONS = {"gelu": GELU, "gelu_new": GELU_TANH, "gelu_pytorch_tanh": GELU_TANH}


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of an encoder; the names are those of a Hugging Face config.json where it has them."""

    layers: int
    heads: int
    epsilon: float = 1e-12
    activation: str = "gelu"
    # The position of a text's first token: 0, or the padding token's id + 1 (RoBERTa).
    first_position: int = 0
    pooling: Literal["mean", "cls"] = "mean"
    normalize: bool = True
    max_tokens: int = MAX_TOKENS

    @classmethod
    def of(
        cls, config: Mapping[str, Any], pooling: Literal["mean", "cls"] = "mean", normalize: bool = True
    ) -> EncoderConfig:
        """Return the shape that a model's config.json describes.

        Raises:
            ValueError: this encoder does not support the model; the message names the setting.
        """
        supported: dict[str, set[Any]] = {
            "model_type": FAMILIES,
            "hidden_act": set(ACTIVATIONS),
            "position_embedding_type": {"absolute", None},
        }
        for name, possible in supported.items():
            if config.get(name) not in possible:
                raise ValueError(f"{name} is {config.get(name)!r}")
        first = config.get("pad_token_id", 1) + 1 if config["model_type"] in ("xlm-roberta", "roberta") else 0
        return cls(
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            epsilon=config.get("layer_norm_eps", 1e-12),
            activation=config["hidden_act"],
            first_position=first,
            pooling=pooling,
            normalize=normalize,
            max_tokens=min(MAX_TOKENS, config["max_position_embeddings"] - first),
        )


class PackedEncoder:
    """Computes exact vectors of texts, given as token ids.

    Args:
        config: the shape.
        tensors: a BERT's state dict, with or without a prefix such as "bert."; weights of any float type, or int8 with
            a float32 `<name>.scale` (one for each output) beside it. Word embeddings: see `vectors.rows_of`.
        threads: how many batches are computed at once.
    """

    def __init__(self, config: EncoderConfig, tensors: Mapping[str, torch.Tensor], threads: int = 1) -> None:
        tensors = _without_prefix(tensors)
        self.config = config
        self.threads = threads
        self._words = rows_of(tensors, WORDS)
        # A text is of one type, the first.
        self._positions = tensors["embeddings.position_embeddings.weight"].float()
        types = tensors.get("embeddings.token_type_embeddings.weight")
        if types is not None:
            self._positions = self._positions + types[0].float()
        self._norm = _norm(tensors, "embeddings", config.epsilon)
        self._layers = [_Layer(tensors, f"encoder.layer.{number}", config) for number in range(config.layers)]
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return int(self._positions.shape[1])

    @property
    def number_format(self) -> str:
        """`int8`: the same bits on every processor."""
        return "int8"

    def encode(self, texts: Sequence[npt.ArrayLike]) -> npt.NDArray[np.float32]:
        """(n_texts, dimensions) float32 vectors of texts, each given as its token ids, special tokens included.

        Raises:
            ValueError: a text has no token, or more than `config.max_tokens`.
        """
        ids = [np.asarray(text, dtype=np.int64) for text in texts]
        for text in ids:
            if not 0 < len(text) <= self.config.max_tokens:
                raise ValueError(f"a text has {len(text)} tokens: 1 to {self.config.max_tokens} are possible")
        vectors = np.empty((len(ids), self.dimensions), np.float32)
        groups = list(batches([len(text) for text in ids], BATCH_TOKENS))

        def compute(batch: list[int]) -> None:
            vectors[batch] = self._forward([ids[position] for position in batch])

        if self.threads == 1 or len(groups) <= 1:
            with _one_thread():
                for batch in groups:
                    compute(batch)
        else:
            list(self._workers().map(compute, groups))
        return vectors

    def _workers(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                import torch

                self._pool = ThreadPoolExecutor(self.threads, "encode", torch.set_num_threads, (1,))
            return self._pool

    def _forward(self, texts: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        import torch

        lengths = np.array([len(text) for text in texts], np.int64)
        with torch.inference_mode():
            first = self.config.first_position
            positions = torch.cat([torch.arange(first, first + length) for length in lengths])
            tokens = self._words.rows(torch.from_numpy(np.concatenate(texts))) + self._positions[positions]
        hidden = tokens.numpy()
        codes, scales = torch.empty(hidden.shape, dtype=torch.int8), np.empty(len(hidden), np.float32)
        normalise(hidden, *self._norm, codes.numpy(), scales)
        attention = Attention(lengths, self.config.heads, self.dimensions)
        scratch = _Scratch(len(hidden), self.dimensions, self._layers[0].feed_forward)
        for layer in self._layers:
            layer.forward(hidden, codes, scales, attention, scratch)
        return self._pooled(hidden, lengths)

    def _pooled(self, hidden: Floats, lengths: npt.NDArray[np.int64]) -> Floats:
        vectors = np.empty((len(lengths), self.dimensions), np.float32)
        if self.config.pooling == "cls":
            vectors[:] = hidden[np.cumsum(lengths) - lengths]
        else:
            mean_rows(hidden, lengths, vectors)
        if self.config.normalize:
            to_unit_length(vectors)
        return vectors


class _Scratch:
    """Arrays of one batch, which every layer overwrites: new ones for each layer would be mapped page by page.

    Args:
        tokens: of the batch.
        dimensions: of a token.
        feed_forward: outputs of the wide layer.
    """

    def __init__(self, tokens: int, dimensions: int, feed_forward: int) -> None:
        import torch

        integers = torch.int32
        self.projected = torch.empty((tokens, 3 * dimensions), dtype=integers)
        self.products = torch.empty((tokens, dimensions), dtype=integers)
        self.wide_products = torch.empty((min(tokens, WIDE_TOKENS), feed_forward), dtype=integers)
        self.wide_codes = torch.empty((tokens, feed_forward), dtype=torch.int8)
        self.wide_scales = np.empty(tokens, np.float32)


class _Layer:
    """One transformer layer over packed tokens."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], name: str, config: EncoderConfig) -> None:
        attention = f"{name}.attention"
        self._polynomial = ACTIVATIONS[config.activation]
        self._projected = Linear.of(tensors, *(f"{attention}.self.{part}" for part in ("query", "key", "value")))
        self._mixed = Linear.of(tensors, f"{attention}.output.dense")
        self._widened = Linear.of(tensors, f"{name}.intermediate.dense")
        self._narrowed = Linear.of(tensors, f"{name}.output.dense")
        self._norms = [_norm(tensors, place, config.epsilon) for place in (f"{attention}.output", f"{name}.output")]

    @property
    def feed_forward(self) -> int:
        """The outputs of the wide layer."""
        return len(self._widened.bias)

    def forward(
        self, hidden: Floats, codes: torch.Tensor, scales: Floats, attention: Attention, scratch: _Scratch
    ) -> None:
        """Replace the layer's input by its output.

        Args:
            hidden: (n_tokens, dimensions) float32.
            codes, scales: the same quantised: (n_tokens, dimensions) int8, (n_tokens,) float32.
            attention, scratch: of this batch.
        """
        layer = self._projected
        layer.multiply(codes, scratch.projected)
        attention(scratch.projected, layer.scales, layer.bias, scales, codes.numpy(), scales)
        layer = self._mixed
        products = layer.multiply(codes, scratch.products)
        add_and_normalise(products, layer.scales, layer.bias, hidden, scales, *self._norms[0], codes.numpy(), scales)
        layer = self._widened
        for start in range(0, len(scales), WIDE_TOKENS):
            part = slice(start, min(start + WIDE_TOKENS, len(scales)))
            products = layer.multiply(codes[part], scratch.wide_products[: part.stop - part.start])
            wide = scratch.wide_codes[part].numpy(), scratch.wide_scales[part]
            gelu(products, layer.scales, layer.bias, scales[part], self._polynomial, *wide)
        layer = self._narrowed
        products = layer.multiply(scratch.wide_codes, scratch.products)
        add_and_normalise(
            products, layer.scales, layer.bias, hidden, scratch.wide_scales, *self._norms[1], codes.numpy(), scales
        )


def _norm(tensors: Mapping[str, torch.Tensor], name: str, epsilon: float) -> tuple[Floats, Floats, float]:
    return as_array(tensors[f"{name}.LayerNorm.weight"]), as_array(tensors[f"{name}.LayerNorm.bias"]), epsilon


def _without_prefix(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state dict without the prefix of its names, so that they begin with "embeddings." or "encoder."."""
    [prefix] = [name.removesuffix(WORDS) for name in tensors if name.endswith(WORDS)]
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Use one torch thread: on small batches, several threads take longer."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
