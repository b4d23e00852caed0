"""Attention of the exact encoder, as kernels (see `packed_kernels.py`) around two matrix products.

Queries and keys are quantised for each token and head, values for each text and channel, weights for each text. The
products hold integers below 2^24 as float32, which add up without rounding in any order. Texts shorter than the longest
of a batch are padded with zeros: what is there weighs nothing, exactly.

Shapes: `lengths` (texts,) tokens of each text; padded arrays (texts, heads, longest, size) with `size` channels a head.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from classer_core.models.packed_kernels import (
    EXP_SHARE,
    MAGNITUDE,
    ROUNDING,
    SMALLEST_TOP_BITS,
    STEPS,
    Codes,
    Floats,
    Integers,
    compiled,
    f,
    quantise_row,
)
from classer_core.models.packed_linear import EXACT_INTEGERS

if TYPE_CHECKING:
    import torch


class Attention:
    """Attention over one batch; its arrays are allocated once and used by every layer.

    Args:
        lengths: tokens of each text, at most 512.
        heads: number of heads.
        dimensions: channels of all heads together.
    """

    def __init__(self, lengths: npt.NDArray[np.int64], heads: int, dimensions: int) -> None:
        import torch

        texts, longest, size = len(lengths), int(lengths.max()), dimensions // heads
        self._lengths = lengths
        self._query, self._key, self._value, self._seen = torch.empty((4, texts, heads, longest, size)).unbind()
        self._scores = torch.empty((texts, heads, longest, longest))
        self._query_scales, self._key_scales, self._sums = np.empty((3, texts, heads, longest), np.float32)
        self._value_scales = np.empty((texts, dimensions), np.float32)
        # Scores are divided by the square root of a head's size, and by what `_weights` raises to.
        self._factor = 1 / (EXP_SHARE * math.sqrt(size))

    def __call__(
        self,
        products: torch.Tensor,
        weight_scales: Floats,
        offsets: Floats,
        row_scales: Floats,
        codes: Codes,
        scales: Floats,
    ) -> None:
        """Quantise what each token sees.

        Args:
            products: (n, 3 * dimensions) int32, of queries, keys and values side by side.
            weight_scales, offsets: (3 * dimensions,), scales and bias of the layer that gave the products.
            row_scales: (n,), scales of the rows that it multiplied; may be the array `scales`.
            codes: (n, dimensions), written.
            scales: (n,), written.
        """
        import torch

        padded = self._query.numpy(), self._key.numpy(), self._value.numpy()
        scaled = self._query_scales, self._key_scales, self._value_scales
        _split_heads(products.numpy(), weight_scales, offsets, row_scales, self._lengths, *padded, *scaled)
        torch.matmul(self._query, self._key.transpose(-1, -2), out=self._scores)
        _weigh(self._scores.numpy(), self._lengths, self._query_scales, self._key_scales, self._factor, self._sums)
        torch.matmul(self._scores, self._value, out=self._seen)
        _merge_heads(self._seen.numpy(), self._lengths, self._value_scales, self._sums, codes, scales)


@compiled(
    "void(i4[:,::1], f4[::1], f4[::1], f4[::1], i8[::1],"
    " f4[:,:,:,::1], f4[:,:,:,::1], f4[:,:,:,::1], f4[:,:,::1], f4[:,:,::1], f4[:,::1])"
)
def _split_heads(
    products: Integers,
    weight_scales: Floats,
    offsets: Floats,
    row_scales: Floats,
    lengths: npt.NDArray[np.int64],
    query: Floats,
    key: Floats,
    value: Floats,
    query_scales: Floats,
    key_scales: Floats,
    value_scales: Floats,
) -> None:
    """Write padded queries, keys and values as integers in float32, and their scales."""
    texts, heads, longest, size = query.shape
    dimensions = heads * size
    outputs = np.empty(3 * dimensions, np.float32)
    output_bits = outputs.view(np.int32)
    # Largest magnitudes: of the queries' heads, then the keys'; and of the values' channels.
    head_bits, channel_bits = np.empty(2 * heads, np.int32), np.empty(dimensions, np.int32)
    head_tops, channel_tops = head_bits.view(np.float32), channel_bits.view(np.float32)
    row = 0
    for text in range(texts):
        channel_bits[:] = SMALLEST_TOP_BITS
        for token in range(lengths[text]):
            row_scale = row_scales[row]
            for j in range(3 * dimensions):
                outputs[j] = f(products[row, j]) * weight_scales[j] * row_scale + offsets[j]
            for j in range(dimensions):
                channel_bits[j] = max(channel_bits[j], output_bits[2 * dimensions + j] & MAGNITUDE)
            for head in range(2 * heads):
                largest = SMALLEST_TOP_BITS
                for j in range(size):
                    largest = max(largest, output_bits[head * size + j] & MAGNITUDE)
                head_bits[head] = largest
            for head in range(heads):
                query_scales[text, head, token] = head_tops[head] / STEPS
                key_scales[text, head, token] = head_tops[heads + head] / STEPS
                query_factor, key_factor = STEPS / head_tops[head], STEPS / head_tops[heads + head]
                start = head * size
                for j in range(size):
                    query[text, head, token, j] = (outputs[start + j] * query_factor + ROUNDING) - ROUNDING
                for j in range(size):
                    key[text, head, token, j] = (outputs[dimensions + start + j] * key_factor + ROUNDING) - ROUNDING
                for j in range(size):
                    value[text, head, token, j] = outputs[2 * dimensions + start + j]
            row += 1
        for j in range(dimensions):
            value_scales[text, j] = channel_tops[j] / STEPS
            channel_tops[j] = STEPS / channel_tops[j]
        for head in range(heads):
            for token in range(lengths[text]):
                for j in range(size):
                    scaled = value[text, head, token, j] * channel_tops[head * size + j]
                    value[text, head, token, j] = (scaled + ROUNDING) - ROUNDING
            for token in range(lengths[text], longest):
                for j in range(size):
                    query[text, head, token, j] = f(0)
                    key[text, head, token, j] = f(0)
                    value[text, head, token, j] = f(0)


@compiled("void(f4[:,:,:,::1], i8[::1], f4[:,:,::1], f4[:,:,::1], f4, f4[:,:,::1])")
def _weigh(
    scores: Floats,
    lengths: npt.NDArray[np.int64],
    query_scales: Floats,
    key_scales: Floats,
    factor: float,
    sums: Floats,
) -> None:
    """Replace products of queries and keys by weights: the exponentials of the scores, as integers.

    A text's weights have as many levels as its length allows, so that their products with values add up exactly.

    Args:
        scores: (texts, heads, longest, longest); zero where a text is padded.
        factor: scores are multiplied by it.
        sums: (texts, heads, longest), written: each row's sum of weights.
    """
    texts, heads, longest, _ = scores.shape
    shares = np.empty(longest, np.float32)
    bits = shares.view(np.int32)
    top_bits = np.empty(1, np.int32)
    for text in range(texts):
        length = lengths[text]
        levels = f((EXACT_INTEGERS - 1) // (127 * length))
        for head in range(heads):
            scales = key_scales[text, head]
            for token in range(length):
                row = scores[text, head, token]
                scale = query_scales[text, head, token] * f(factor)
                # The bits of a negative float, its magnitude inverted, compare as the floats do.
                largest = np.int32(-0x80000000)
                for j in range(length):
                    shares[j] = row[j] * scale * scales[j]
                for j in range(length):
                    largest = max(largest, bits[j] ^ ((bits[j] >> np.int32(31)) & MAGNITUDE))
                top_bits[0] = largest ^ ((largest >> np.int32(31)) & MAGNITUDE)
                top = top_bits.view(np.float32)[0]
                total = np.int32(0)
                for j in range(length):
                    # exp(64 t) for t <= 0 as (1 + t + t^2 / 2)^64: off by less than 0.0005.
                    t = max(shares[j] - top, f(-1)) + f(1)
                    t = (t * t + f(1)) * f(0.5)
                    t = t * t
                    t = t * t
                    t = t * t
                    t = t * t
                    t = t * t
                    t = t * t
                    weight = (t * levels + ROUNDING) - ROUNDING
                    row[j] = weight
                    total += np.int32(weight)
                sums[text, head, token] = f(total)
                for j in range(length, longest):
                    row[j] = f(0)
            for token in range(length, longest):
                scores[text, head, token, :] = f(0)


@compiled("void(f4[:,:,:,::1], i8[::1], f4[:,::1], f4[:,:,::1], i1[:,::1], f4[::1])")
def _merge_heads(
    seen: Floats,
    lengths: npt.NDArray[np.int64],
    value_scales: Floats,
    sums: Floats,
    codes: Codes,
    scales: Floats,
) -> None:
    """Write the codes (n, dimensions) and scales (n,) of sums of weighted values (texts, heads, longest, size)."""
    texts, heads, _, size = seen.shape
    outputs = np.empty(heads * size, np.float32)
    row = 0
    for text in range(texts):
        for token in range(lengths[text]):
            for head in range(heads):
                total = sums[text, head, token]
                for j in range(size):
                    channel = head * size + j
                    outputs[channel] = seen[text, head, token, j] * value_scales[text, channel] / total
            quantise_row(outputs, codes[row], scales, row)
            row += 1
