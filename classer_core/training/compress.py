"""What training changed, made small: four bits a weight."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Normally distributed numbers lose least in 15 levels this far apart, counted in their root mean square.
# Source: Max, "Quantizing for minimum distortion", 1960.
STEP = 0.35
MOST_STEPS = 7


def save_changes(
    published: Mapping[str, torch.Tensor], trained: Mapping[str, torch.Tensor], share: float, path: Path
) -> None:
    """Writes `share` (0-1) of the way from the published to the trained weights, for `models.embedded` to add.

    Part of the way keeps more of what the published model knew than all of it.
    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", 2022.
    """
    from safetensors.torch import save_file

    changes: dict[str, torch.Tensor] = {}
    for name, weight in sorted(trained.items()):
        change = (weight.detach().float() - published[name].float()) * share
        if change.ndim == 1:
            changes[f"{name}.change"] = change.half()
        else:
            changes[f"{name}.codes"], changes[f"{name}.steps"] = _quantized(change)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(changes, path)


def _quantized(change: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(n_rows, n_columns) in; (n_rows, n_columns / 2) uint8, two steps + 8 a byte, and each row's step float16 out."""
    import torch

    step = (change.square().mean(dim=1).sqrt() * STEP).half().clamp(min=torch.finfo(torch.float16).tiny)
    steps = (change / step.float()[:, None]).round().clamp(-MOST_STEPS, MOST_STEPS).to(torch.int16) + 8
    return (steps[:, ::2] * 16 + steps[:, 1::2]).to(torch.uint8), step
