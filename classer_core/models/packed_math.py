"""The arithmetic of the exact encoder (`packed.py`): sums of products are sums of integers, exact in any order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# float32 holds every integer up to 2^24.
EXACT_INTEGERS = 2**24
STEPS = 127.0
EXP_SHARE = 64
# Whole vectors of any processor, unrolled.
VECTOR = 64
# A row of zeros has a scale too, and one whose inverse is a number.
SMALLEST_TOP = 1e-30


def quantise(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int8 codes (n, k) and a float32 scale per row (n, 1) of float32 rows (n, k)."""
    import torch

    top = torch.maximum(rows.amax(dim=-1, keepdim=True), rows.amin(dim=-1, keepdim=True).neg_())
    top.clamp_(min=SMALLEST_TOP)
    codes = (rows * (STEPS / top)).round_().to(torch.int8)
    return codes, top.div_(STEPS)


def quantised_weight(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int8 codes (outputs, inputs) and a float32 scale per output (outputs,) of a float weight."""
    codes, scales = quantise(weight.float())
    return codes, scales[:, 0]


class Linear:
    """An affine layer with int8 weights.

    Args:
        codes: (outputs, inputs) int8.
        scales: (outputs,) float32.
        bias: (outputs,) float32.
    """

    def __init__(self, codes: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor) -> None:
        self._codes = codes.t().contiguous()
        self._scales, self._bias = scales.float(), bias.float()
        self._product = integer_product()
        self._prepared = self._product.prepare(self._codes)

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], *names: str) -> Linear:
        """Return the layers of these names as one layer with all their outputs; float weights are quantised."""
        import torch

        parts = []
        for name in names:
            weight = tensors[f"{name}.weight"]
            if weight.dtype == torch.int8:
                parts.append((weight, tensors[f"{name}.weight.scale"].reshape(-1)))
            else:
                parts.append(quantised_weight(weight))
        bias = torch.cat([tensors[f"{name}.bias"].float() for name in names])
        return cls(torch.cat([codes for codes, _ in parts]), torch.cat([scales for _, scales in parts]), bias)

    def __call__(self, codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Return the layer's outputs (n, outputs) float32 for quantised rows: codes (n, inputs), scales (n, 1)."""
        products = self._product.multiply(codes, self._prepared)
        return products.mul_(self._scales).mul_(scales).add_(self._bias)


class IntegerUnits:
    """Products of int8 matrices by the processor's int8 instructions."""

    def prepare(self, codes: torch.Tensor) -> Any:
        """Return weights (inputs, outputs) int8 in the form that `multiply` takes."""
        return codes

    def multiply(self, rows: torch.Tensor, codes: Any) -> torch.Tensor:
        """Return the product (n, outputs) of int8 rows (n, inputs) and prepared weights: exact integers as float32."""
        import torch

        return torch._int_mm(rows, codes).float()


class FloatUnits:
    """The same products in float32, for processors without int8 instructions; all partial sums stay below 2^24."""

    def prepare(self, codes: torch.Tensor) -> Any:
        """Return weights (inputs, outputs) as float32 parts, so small that float32 holds their sums exactly."""
        import torch

        size = EXACT_INTEGERS // int(STEPS * STEPS)
        return [part.float() for part in torch.split(codes, size)]

    def multiply(self, rows: torch.Tensor, codes: Any) -> torch.Tensor:
        """Return the product (n, outputs) of int8 rows (n, inputs) and prepared weights: exact integers as float32."""
        import torch

        parts = torch.split(rows.float(), [len(part) for part in codes], dim=1)
        total = torch.zeros((len(rows), codes[0].shape[1]), dtype=torch.int32)
        for part, weights in zip(parts, codes, strict=True):
            total += (part @ weights).to(torch.int32)
        return total.float()


@lru_cache(maxsize=1)
def integer_product() -> IntegerUnits | FloatUnits:
    """Return the fastest product that is exact on this processor, tested with the largest codes."""
    import torch

    from classer_core.hardware import has_integer_units

    if not has_integer_units():
        return FloatUnits()
    rows, codes = torch.full((33, 1536), 127, dtype=torch.int8), torch.full((1536, 48), 127, dtype=torch.int8)
    rows[::2] = -127
    codes[:, 1::3] = -127
    exact = torch.equal(torch._int_mm(rows, codes).double(), rows.double() @ codes.double())
    return IntegerUnits() if exact else FloatUnits()


def attention(asked: torch.Tensor, lengths: Sequence[int], heads: int) -> torch.Tensor:
    """Return attention (n_tokens, dimensions) of queries, keys and values side by side (n_tokens, 3 * dimensions).

    Queries and keys are quantised for each token and head, values for each text and channel, weights for each text.
    Texts shorter than the longest are padded: what is there weighs nothing, exactly.
    """
    import torch

    longest, texts = max(lengths), len(lengths)
    size = asked.shape[1] // 3 // heads
    even = min(lengths) == longest
    if not even:
        asked = torch.nn.utils.rnn.pad_sequence(list(torch.split(asked, list(lengths))), batch_first=True)
    asked = asked.view(texts, longest, 3, heads, size).permute(2, 0, 3, 1, 4)
    (query, query_scale), (key, key_scale) = _levels(asked[0], -1), _levels(asked[1], -1)
    value, value_scale = _levels(asked[2], -2)
    scores = torch.matmul(query, key.transpose(-1, -2))
    scores.mul_(query_scale.mul_(1 / (EXP_SHARE * math.sqrt(size)))).mul_(key_scale.transpose(-1, -2))
    if not even:
        # Adding is vectorised, and ten times as fast as `masked_fill_`.
        outside = torch.arange(longest) >= torch.tensor(lengths)[:, None]
        scores.add_(torch.zeros((texts, longest)).masked_fill_(outside, -torch.inf)[:, None, None, :])
    # A text's weights have as many levels as its length allows, so that their sums of products stay exact.
    levels = torch.tensor([float((EXACT_INTEGERS - 1) // (127 * length)) for length in lengths])[:, None, None, None]
    weights = _exp(scores.sub_(scores.amax(dim=-1, keepdim=True))).mul_(levels).round_()
    seen = torch.matmul(weights, value).mul_(value_scale).div_(weights.sum(dim=-1, keepdim=True))
    seen = seen.transpose(1, 2).reshape(texts, longest, heads * size)
    return (
        seen.flatten(0, 1) if even else torch.cat([text[:length] for text, length in zip(seen, lengths, strict=True)])
    )


def _exp(shares: torch.Tensor) -> torch.Tensor:
    """exp(64 t) for t <= 0 in place, as (1 + t + t^2 / 2)^64: off by less than 0.0005, a weight's own last bits.

    Multiplication and addition are the same everywhere; libraries' exponentials differ between processors.
    """
    shares.clamp_(min=-1).add_(1)
    shares.mul_(shares).add_(1).mul_(0.5)
    for _ in range(6):
        shares.mul_(shares)
    return shares


def gelu(rows: torch.Tensor, approximate: str) -> torch.Tensor:
    """GELU of every number.

    Given a transposed view torch computes it itself: oneDNN, which takes plain arrays, rounds otherwise on each
    generation of processors.
    """
    import torch

    width = rows.shape[1]
    if width % VECTOR:  # what is left over after whole vectors is computed by other code
        return gelu(torch.nn.functional.pad(rows, (0, VECTOR - width % VECTOR)), approximate)[:, :width].contiguous()
    if len(rows) == 1:  # a single row transposed is still a plain array
        return gelu(rows.expand(2, -1).contiguous(), approximate)[:1]
    return torch.nn.functional.gelu(rows.t(), approximate=approximate).t()


def _levels(values: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32 values as integers of at most 127, stored as float32, and their scales along `dim`."""
    import torch

    top = torch.maximum(values.amax(dim=dim, keepdim=True), values.amin(dim=dim, keepdim=True).neg_())
    top.clamp_(min=SMALLEST_TOP)
    return (values * (STEPS / top)).round_(), top.div_(STEPS)


def layer_norm(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Return rows (n, dimensions), each normalised to mean 0 and variance 1, then scaled and shifted."""
    import torch

    return torch.nn.functional.layer_norm(rows, (rows.shape[-1],), weight, bias, epsilon)
