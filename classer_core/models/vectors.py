"""Tables of word vectors, as floats or quantised; only the rows that are read are converted to float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

# Q4_0, the four-bit format of GGUF: this many weights share a scale; a byte contains weights j and j + half of them.
BLOCK_4BIT = 32


class Rows(Protocol):
    """A table whose rows are read by number."""

    def __len__(self) -> int: ...

    def rows(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return the rows (n, dimensions) float32 with these numbers (n,) int64."""


class FloatRows:
    """Rows of any float type."""

    def __init__(self, table: torch.Tensor) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def rows(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return these rows as float32."""
        return self._table[numbers].float()


class Int8Rows:
    """Rows of int8 codes (n, dimensions), with one float scale per row."""

    def __init__(self, codes: torch.Tensor, scales: torch.Tensor) -> None:
        self._codes, self._scales = codes, scales.reshape(-1, 1)

    def __len__(self) -> int:
        return len(self._codes)

    def rows(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return these rows as float32."""
        return self._codes[numbers].float() * self._scales[numbers].float()


class Int4Rows:
    """Rows in Q4_0: codes (n, dimensions / 2) uint8, two weights plus 8 in each; scales (n, dimensions / 32)."""

    def __init__(self, codes: torch.Tensor, scales: torch.Tensor) -> None:
        self._codes, self._scales = codes, scales

    def __len__(self) -> int:
        return len(self._codes)

    def rows(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return these rows as float32."""
        import torch

        codes = self._codes[numbers].view(len(numbers), -1, BLOCK_4BIT // 2)
        values = torch.cat([codes & 15, codes >> 4], dim=-1).float() - 8
        return (values * self._scales[numbers].float()[:, :, None]).flatten(1)


def rows_of(tensors: Mapping[str, torch.Tensor], name: str) -> Rows:
    """Return the table `name`: int8 if there is a tensor `name.scale`, Q4_0 with `name.scales`, else floats.

    Raises:
        KeyError: there is no such table.
    """
    table = tensors[name]
    if f"{name}.scales" in tensors:
        return Int4Rows(table, tensors[f"{name}.scales"])
    if f"{name}.scale" in tensors:
        return Int8Rows(table, tensors[f"{name}.scale"])
    return FloatRows(table)
