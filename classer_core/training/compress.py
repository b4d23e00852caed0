"""Store what was trained as the exact engine uses it: int8, with a scale for each output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def save_int8(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write matrices as int8 `name` and float32 `name.scale` (one for each row), vectors as float32."""
    import torch
    from safetensors.torch import save_file

    stored: dict[str, torch.Tensor] = {}
    for name, weight in sorted(weights.items()):
        values = weight.detach().float().contiguous()
        if values.ndim == 1:
            stored[name] = values
        else:
            scale = values.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / 127
            stored[name] = (values / scale[:, None]).round().to(torch.int8)
            stored[f"{name}.scale"] = scale
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(stored, path)
