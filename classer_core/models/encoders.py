"""Encoders: windows of token ids in, vectors out. One rule decides which of two computes a model.

- `PackedEncoder` (packed.py): BERT and its relatives on a CPU. int8, and exact: an answer never depends on company.
- `GeneralEncoder` (general.py): everything else that sentence-transformers loads, and every model on a GPU.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from classer_core import hardware
from classer_core.models import EMBEDDED, embedded
from classer_core.models.folders import UnpackableError, hub_folder, read_folder
from classer_core.models.windows import TokenIds

log = logging.getLogger(__name__)


class Encoder(Protocol):
    """Anything that makes vectors of token ids."""

    @property
    def dimensions(self) -> int:
        """The length of a vector."""

    @property
    def number_format(self) -> str:
        """How it computes; encoders of one format and the same weights give the same answers."""

    def encode(self, windows: Sequence[TokenIds]) -> npt.NDArray[np.float32]:
        """(n_windows, dimensions) vectors of windows of at least one token."""


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder with what has to be known to feed it.

    `tokenizer` is a `tokenizers.Tokenizer`, or has its methods; `digest` is of everything that can change a vector,
    but the number format.
    """

    encoder: Encoder
    tokenizer: Any
    window_tokens: int
    prompts: Mapping[str, str]
    digest: str


def load_encoder(name: str, threads: int) -> LoadedEncoder:
    """Load `embedded`, a Hugging Face id or a local folder.

    Raises:
        ModelLoadError: it can't be loaded; the message says why and what to do.
    """
    if name == EMBEDDED:
        return _embedded(threads)
    if hardware.best_device() == "cpu":
        try:
            return _packed(hub_folder(name), threads)
        except UnpackableError as reason:
            log.info("model %s is not computed in int8: %s", name, reason)
    from classer_core.models.general import GeneralEncoder

    general = GeneralEncoder.load(name, Path(name), threads)
    return LoadedEncoder(general, general.tokenizer, general.window_tokens, general.prompts, general.digest)


def _embedded(threads: int) -> LoadedEncoder:
    """Load the embedded model, on the CPU also beside a GPU, so that its answers are the same anywhere."""
    from classer_core.models.e5_tokenizer import FirstTextsTokenizer
    from classer_core.models.packed import EncoderConfig, PackedEncoder

    published = embedded.open_published()
    header = published.header
    config = EncoderConfig(layers=len(embedded.LAYERS), heads=header.n_heads, epsilon=header.epsilon)
    encoder = PackedEncoder(config, embedded.tensors(published), threads)
    return LoadedEncoder(encoder, FirstTextsTokenizer(published), embedded.WINDOW_TOKENS, {}, embedded.digest())


def _packed(folder: Path, threads: int) -> LoadedEncoder:
    """Load the model of a folder for exact computing.

    Raises:
        UnpackableError: it is a model of another kind, or its files are not complete.
    """
    read = read_folder(folder)
    from classer_core.models.packed import PackedEncoder

    weights = embedded.sha256(folder / "model.safetensors")
    digest = hashlib.sha256(f"{weights} {read.config}".encode()).hexdigest()[:12]
    try:
        encoder = PackedEncoder(read.config, read.tensors, threads)
    except KeyError as error:
        raise UnpackableError(f"its weights lack {error}") from error
    return LoadedEncoder(encoder, read.tokenizer, read.window_tokens, read.prompts, digest)
