"""Encoders compute vectors of windows of token ids. `load_encoder` chooses one of two.

- `PackedEncoder` (packed.py) for models of the BERT family on a CPU: int8, and exact, so that a vector does not depend
  on the other texts of its batch.
- `GeneralEncoder` (general.py) for all other models that sentence-transformers loads, and for every model on a GPU.
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
    """Computes vectors of token ids."""

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""

    @property
    def number_format(self) -> str:
        """Return the name of the number format; the same format and weights give the same answers."""

    def encode(self, windows: Sequence[TokenIds]) -> npt.NDArray[np.float32]:
        """Return a vector per window (n_windows, dimensions) float32; a window has at least one token."""


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder, and how to make windows of token ids for it.

    Attributes:
        encoder: the encoder.
        tokenizer: a `tokenizers.Tokenizer`, or an object with its methods that `windows.Tokenizer` calls.
        window_tokens: most tokens of a window, special tokens included.
        prompts: kind of text ("query", "passage", ...) -> text before every text of this kind.
        digest: of everything but the number format that can change a vector.
    """

    encoder: Encoder
    tokenizer: Any
    window_tokens: int
    prompts: Mapping[str, str]
    digest: str


def load_encoder(
    name: str, threads: int, revision: str | None = None, trust_remote_code: bool = False
) -> LoadedEncoder:
    """Load an encoder.

    Args:
        name: `embedded`, a Hugging Face id, or a local folder.
        threads: CPU threads it may use.
        revision: branch, tag or commit on the hub.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        ModelLoadError: it can't be loaded; the message says why and what to do.
    """
    if name == EMBEDDED:
        return _embedded(threads)
    if hardware.best_device() == "cpu":
        try:
            return _packed(hub_folder(name, revision), threads)
        except UnpackableError as reason:
            log.info("model %s is not computed in int8: %s", name, reason)
    from classer_core.models.general import GeneralEncoder

    general = GeneralEncoder.load(name, Path(name), threads, revision, trust_remote_code)
    return LoadedEncoder(general, general.tokenizer, general.window_tokens, general.prompts, general.digest)


def _embedded(threads: int) -> LoadedEncoder:
    """Load the embedded model on the CPU, also on machines with a GPU, so that its answers are the same everywhere."""
    from classer_core.models.e5_tokenizer import FirstTextsTokenizer
    from classer_core.models.packed import EncoderConfig, PackedEncoder

    published = embedded.open_published()
    header = published.header
    config = EncoderConfig(layers=header.n_layers, heads=header.n_heads, epsilon=header.epsilon)
    encoder = PackedEncoder(config, embedded.tensors(published), threads)
    return LoadedEncoder(encoder, FirstTextsTokenizer(published), embedded.WINDOW_TOKENS, {}, embedded.digest())


def _packed(folder: Path, threads: int) -> LoadedEncoder:
    """Load the model in a folder into the exact encoder.

    Raises:
        UnpackableError: the model is of another kind, or its files are incomplete.
    """
    model = read_folder(folder)
    from classer_core.models.packed import PackedEncoder

    weights = embedded.sha256(folder / "model.safetensors")
    digest = hashlib.sha256(f"{weights} {model.config}".encode()).hexdigest()[:12]
    try:
        encoder = PackedEncoder(model.config, model.tensors, threads)
    except KeyError as error:
        raise UnpackableError(f"its weights lack {error}") from error
    return LoadedEncoder(encoder, model.tokenizer, model.window_tokens, model.prompts, digest)
