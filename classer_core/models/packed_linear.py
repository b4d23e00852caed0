"""The linear layers of the exact encoder (`packed.py`): sums of int8 products, exact in any order."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

# float32 holds every integer up to 2^24.
EXACT_INTEGERS = 2**24
STEPS = 127.0
# A row of zeros has a scale too, and one whose inverse is a number.
SMALLEST_TOP = 1e-30


def quantised_weight(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int8 codes (outputs, inputs) and a float32 scale per output (outputs,) of a float weight."""
    import torch

    weight = weight.float()
    top = weight.abs().amax(dim=1, keepdim=True).clamp_(min=SMALLEST_TOP)
    return (weight * (STEPS / top)).round_().to(torch.int8), top[:, 0] / STEPS


def as_array(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    """Return a tensor as a float32 array that kernels take: contiguous and writable."""
    array: npt.NDArray[np.float32] = tensor.detach().float().clone().contiguous().numpy()
    return array


class Linear:
    """An affine layer with int8 weights.

    Args:
        codes: (outputs, inputs) int8.
        scales: (outputs,) float32.
        bias: (outputs,) float32.
    """

    def __init__(self, codes: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor) -> None:
        self.scales, self.bias = as_array(scales), as_array(bias)
        self._product = integer_product()
        self._prepared = self._product.prepare(codes)

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

    def multiply(self, codes: torch.Tensor, products: torch.Tensor) -> npt.NDArray[np.int32]:
        """Write and return the products (n, outputs) int32 of rows' codes (n, inputs) int8 and the weights' codes."""
        self._product.multiply(codes, self._prepared, products)
        written: npt.NDArray[np.int32] = products.numpy()
        return written


class IntegerUnits:
    """Products of int8 matrices by the processor's int8 instructions."""

    def prepare(self, codes: torch.Tensor) -> Any:
        """Return weights (outputs, inputs) int8 in the form that `multiply` takes."""
        # The transposed view: up to a third faster than weights stored as (inputs, outputs).
        return codes.contiguous().t()

    def multiply(self, rows: torch.Tensor, codes: Any, products: torch.Tensor) -> None:
        """Write the products (n, outputs) int32 of int8 rows (n, inputs) and prepared weights."""
        import torch

        torch._int_mm(rows, codes, out=products)


class FloatUnits:
    """The same products in float32, for processors without int8 instructions; all partial sums stay below 2^24."""

    def prepare(self, codes: torch.Tensor) -> Any:
        """Return weights (outputs, inputs) as float32 parts, so small that float32 holds their sums exactly."""
        import torch

        size = EXACT_INTEGERS // int(STEPS * STEPS)
        return [part.float() for part in torch.split(codes.t().contiguous(), size)]

    def multiply(self, rows: torch.Tensor, codes: Any, products: torch.Tensor) -> None:
        """Write the products (n, outputs) int32 of int8 rows (n, inputs) and prepared weights."""
        import torch

        products.zero_()
        parts = torch.split(rows.float(), [len(part) for part in codes], dim=1)
        for part, weights in zip(parts, codes, strict=True):
            products += (part @ weights).to(torch.int32)


@lru_cache(maxsize=1)
def integer_product() -> IntegerUnits | FloatUnits:
    """Return the fastest product that is exact on this processor, tested with the largest codes."""
    import torch

    from classer_core.hardware import has_integer_units

    if not has_integer_units():
        return FloatUnits()
    rows, codes = torch.full((33, 1536), 127, dtype=torch.int8), torch.full((48, 1536), 127, dtype=torch.int8)
    rows[::2] = -127
    codes[1::3] = -127
    units, products = IntegerUnits(), torch.empty((33, 48), dtype=torch.int32)
    units.multiply(rows, units.prepare(codes), products)
    return units if torch.equal(products.double(), rows.double() @ codes.double().t()) else FloatUnits()
