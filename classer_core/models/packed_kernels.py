"""The steps of the exact encoder between its matrix products, each compiled by Numba into one pass over memory.

Results have the same bits on every processor: additions, multiplications, divisions and square roots are IEEE float32
operations in the order written here, sums over a row go into LANES partial sums, and the compiler may not reassociate
or contract them. GELU and the exponential are polynomials, because the libraries' own differ between processors.

The first import on a machine compiles for some seconds; later ones read Numba's cache (beside this file, else in the
user's cache folder, see NUMBA_CACHE_DIR).

Shapes: n tokens; `products` are (n, outputs) int32 sums of int8 products, which `weight_scales` (outputs,) times
`row_scales` (n,) turn into float32 outputs. Codes are int8 in [-127, 127]; code times scale is the value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int32]
Compiled = TypeVar("Compiled", bound=Callable[..., None])

f = np.float32
STEPS = f(127)
# A row of zeros has a scale too, and one whose inverse is a number: 1e-30 as float32 bits.
SMALLEST_TOP_BITS = np.int32(np.float32(1e-30).view(np.int32))
# Adding and subtracting 1.5 * 2^23 rounds a float32 below 2^22 to the nearest integer, ties to even, and is vectorised.
ROUNDING = f(12_582_912)
# The sign bit of a float32; without it, bits of floats compare as the floats do.
MAGNITUDE = np.int32(0x7FFFFFFF)
# Partial sums of a row: as many as the registers of any processor hold.
LANES = 32
# (1 + t / 64)^64 is the exponential, as six squarings.
EXP_SHARE = 64

# x * (0.5 + u * P(u * u)) with u = x / GELU_RANGE limited to [-1, 1] is GELU: a least-squares fit with P(1) = 0.5, off
# by less than 0.00006, a tenth of what rounding to int8 costs. The second is of GELU's approximation by tanh.
GELU_RANGE = 4.25
# fmt: off
GELU = np.array([1.6962159, -5.1174307, 13.850555, -28.92925, 45.443996,
                 -51.106052, 38.13359, -16.68171, 3.2100832], np.float32)
GELU_TANH = np.array([1.6948477, -5.101297, 13.733735, -28.266615, 43.187958,
                      -46.753803, 33.422092, -14.004588, 2.587668], np.float32)
# fmt: on


def compiled(signature: str | None = None) -> Callable[[Compiled], Compiled]:
    """Compile a function; its machine code is kept if a folder for it can be written."""
    # No NaN reaches a kernel, and the sign of a zero means nothing: this lets comparisons be vectorised.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"nnan", "nsz"}}

    def compile_function(function: Compiled) -> Compiled:
        # Numba's own annotations have no overload for signatures as strings.
        njit: Any = numba.njit
        arguments = [signature] if signature else []
        try:
            compiled_function: Compiled = njit(*arguments, cache=True, **options)(function)
        except RuntimeError:  # no folder to keep it in can be written
            compiled_function = njit(*arguments, **options)(function)
        return compiled_function

    return compile_function


@compiled()
def quantise_row(row: Floats, codes: Codes, scales: Floats, number: int) -> None:
    """Write the int8 codes of one row, and its scale: the largest magnitude / 127."""
    bits = row.view(np.int32)
    top_bits = np.empty(1, np.int32)
    largest = SMALLEST_TOP_BITS
    for j in range(len(bits)):
        largest = max(largest, bits[j] & MAGNITUDE)
    top_bits[0] = largest
    top = top_bits.view(np.float32)[0]
    factor = STEPS / top
    for j in range(len(row)):
        codes[j] = np.int8(np.int32((row[j] * factor + ROUNDING) - ROUNDING))
    scales[number] = top / STEPS


@compiled()
def _normalise_row(row: Floats, weight: Floats, bias: Floats, epsilon: float, sums: Floats) -> None:
    """Normalise one row in place to mean 0 and variance 1, then scale and shift it.

    Args:
        sums: (LANES,), scratch.
    """
    width = len(row)
    whole = width - width % LANES
    for lane in range(LANES):
        sums[lane] = f(0)
    for start in range(0, whole, LANES):
        for lane in range(LANES):
            sums[lane] += row[start + lane]
    for j in range(whole, width):
        sums[j - whole] += row[j]
    total = f(0)
    for lane in range(LANES):
        total += sums[lane]
    mean = total / f(width)
    for lane in range(LANES):
        sums[lane] = f(0)
    for start in range(0, whole, LANES):
        for lane in range(LANES):
            difference = row[start + lane] - mean
            sums[lane] += difference * difference
    for j in range(whole, width):
        difference = row[j] - mean
        sums[j - whole] += difference * difference
    total = f(0)
    for lane in range(LANES):
        total += sums[lane]
    inverse = f(1) / np.sqrt(total / f(width) + epsilon)
    for j in range(width):
        row[j] = (row[j] - mean) * inverse * weight[j] + bias[j]


@compiled("void(f4[:,::1], f4[::1], f4[::1], f4, i1[:,::1], f4[::1])")
def normalise(hidden: Floats, weight: Floats, bias: Floats, epsilon: float, codes: Codes, scales: Floats) -> None:
    """Apply layer normalisation to each row of `hidden` in place, and quantise the rows.

    Args:
        hidden: (n, dimensions).
        weight, bias: (dimensions,).
        epsilon: added to the variance.
        codes: (n, dimensions), written.
        scales: (n,), written.
    """
    sums = np.empty(LANES, np.float32)
    for row in range(len(hidden)):
        _normalise_row(hidden[row], weight, bias, epsilon, sums)
        quantise_row(hidden[row], codes[row], scales, row)


@compiled("void(i4[:,::1], f4[::1], f4[::1], f4[:,::1], f4[::1], f4[::1], f4[::1], f4, i1[:,::1], f4[::1])")
def add_and_normalise(
    products: Integers,
    weight_scales: Floats,
    offsets: Floats,
    hidden: Floats,
    row_scales: Floats,
    weight: Floats,
    bias: Floats,
    epsilon: float,
    codes: Codes,
    scales: Floats,
) -> None:
    """Add a linear layer's outputs to `hidden` (n, dimensions) in place, then do as `normalise`.

    Args:
        offsets: (dimensions,), the linear layer's bias.
        row_scales: (n,), the scales of the rows that the layer multiplied; may be the array `scales`.
    """
    sums = np.empty(LANES, np.float32)
    for row in range(len(hidden)):
        row_scale = row_scales[row]
        for j in range(hidden.shape[1]):
            hidden[row, j] += f(products[row, j]) * weight_scales[j] * row_scale + offsets[j]
        _normalise_row(hidden[row], weight, bias, epsilon, sums)
        quantise_row(hidden[row], codes[row], scales, row)


@compiled("void(i4[:,::1], f4[::1], f4[::1], f4[::1], f4[::1], i1[:,::1], f4[::1])")
def gelu(
    products: Integers,
    weight_scales: Floats,
    offsets: Floats,
    row_scales: Floats,
    polynomial: Floats,
    codes: Codes,
    scales: Floats,
) -> None:
    """Quantise GELU of a linear layer's outputs.

    Args:
        offsets: (outputs,), the layer's bias.
        polynomial: GELU or GELU_TANH.
        codes: (n, outputs), written.
        scales: (n,), written; not the array `row_scales`.
    """
    width = products.shape[1]
    outputs = np.empty(width, np.float32)
    p0, p1, p2, p3, p4, p5, p6, p7, p8 = (
        polynomial[0], polynomial[1], polynomial[2], polynomial[3], polynomial[4],
        polynomial[5], polynomial[6], polynomial[7], polynomial[8],
    )  # fmt: skip
    for row in range(len(products)):
        row_scale = row_scales[row]
        for j in range(width):
            x = f(products[row, j]) * weight_scales[j] * row_scale + offsets[j]
            u = min(max(x * f(1 / GELU_RANGE), f(-1)), f(1))
            v = u * u
            p = (((p8 * v + p7) * v + p6) * v + p5) * v + p4
            p = (((p * v + p3) * v + p2) * v + p1) * v + p0
            outputs[j] = x * (f(0.5) + u * p)
        quantise_row(outputs, codes[row], scales, row)


@compiled("void(f4[:,::1], i8[::1], f4[:,::1])")
def mean_rows(hidden: Floats, lengths: npt.NDArray[np.int64], vectors: Floats) -> None:
    """Write the mean of each text's rows.

    Args:
        hidden: (n, dimensions), the rows of one text after the other.
        lengths: (texts,), tokens of each text.
        vectors: (texts, dimensions), written.
    """
    start = 0
    for text in range(len(lengths)):
        for j in range(hidden.shape[1]):
            vectors[text, j] = f(0)
        for row in range(start, start + lengths[text]):
            for j in range(hidden.shape[1]):
                vectors[text, j] += hidden[row, j]
        for j in range(hidden.shape[1]):
            vectors[text, j] /= f(lengths[text])
        start += lengths[text]


@compiled("void(f4[:,::1])")
def to_unit_length(vectors: Floats) -> None:
    """Divide each vector (n, dimensions) by its length, in place."""
    for row in range(len(vectors)):
        total = np.float64(0)
        for j in range(vectors.shape[1]):
            total += np.float64(vectors[row, j]) * np.float64(vectors[row, j])
        length = max(f(np.sqrt(total)), f(1e-12))
        for j in range(vectors.shape[1]):
            vectors[row, j] /= length
