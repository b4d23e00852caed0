"""Tables of row vectors (word embeddings), as float numbers or quantised: only the rows asked for become float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

# Q4_0, the four-bit format of GGUF: so many weights share one scale; a byte holds weight j and weight j + half of them.
BLOCK_4BIT = 32


class Rows(Protocol):
    """A table whose rows are read by number."""

    def __len__(self) -> int: ...

    def rows(self, numbers: torch.Tensor) -> torch.Tensor:
        """(n,) int64 in, (n, dimensions) float32 out."""


class FloatRows:
    """Rows of any float type."""

    def __init__(self, table: torch.Tensor) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def rows(self, numbers: torch.Tensor) -> torch.Tensor:
        """See `Rows`."""
        return self._table[numbers].float()


class Int8Rows:
    """Rows of int8, one float scale for each row."""

    def __init__(self, codes: torch.Tensor, scales: torch.Tensor) -> None:
        self._codes, self._scales = codes, scales.reshape(-1, 1)

    def __len__(self) -> int:
        return len(self._codes)

    def rows(self, numbers: torch.Tensor) -> torch.Tensor:
        """See `Rows`."""
        return self._codes[numbers].float() * self._scales[numbers].float()


class Int4Rows:
    """Rows in Q4_0: `codes` (n, dimensions / 2) uint8, `scales` (n, dimensions / 32) float16; 8 stands for 0."""

    def __init__(self, codes: torch.Tensor, scales: torch.Tensor) -> None:
        self._codes, self._scales = codes, scales

    def __len__(self) -> int:
        return len(self._codes)

    def rows(self, numbers: torch.Tensor) -> torch.Tensor:
        """See `Rows`."""
        import torch

        codes = self._codes[numbers].view(len(numbers), -1, BLOCK_4BIT // 2)
        values = torch.cat([codes & 15, codes >> 4], dim=-1).float() - 8
        return (values * self._scales[numbers].float()[:, :, None]).flatten(1)


def rows_of(tensors: Mapping[str, torch.Tensor], name: str) -> Rows:
    """The table of this name: `name` alone if float, with `name.scale` (int8) or `name.scales` (Q4_0) if quantised.

    Raises:
        KeyError: there is no such table.
    """
    table = tensors[name]
    if f"{name}.scales" in tensors:
        return Int4Rows(table, tensors[f"{name}.scales"])
    if f"{name}.scale" in tensors:
        return Int8Rows(table, tensors[f"{name}.scale"])
    return FloatRows(table)
