"""GeneralEncoder: all models that sentence-transformers loads, in the device's best number format.

Batches are padded, and the order of summation in matrix kernels depends on a batch's shape. The last bits of a vector
therefore depend on the other texts of its batch: confidences differ by up to 0.001 in float32, and by up to 0.02 in
half precision.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from classer_core import hardware
from classer_core.batching import batches
from classer_core.errors import ModelLoadError
from classer_core.extras import require_for_model
from classer_core.models.windows import TokenIds

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Fastest sizes measured on ag_news: small batches fit a CPU's caches, large ones fill a GPU.
BUDGET_TOKENS = {"cpu": 2_048, "mps": 16_384, "cuda": 131_072}
MAX_WINDOW_TOKENS = 8_192


class GeneralEncoder:
    """A sentence-transformers model that takes token ids.

    Args:
        model: the loaded model.
        digest: of its weights.
        threads: CPU threads it may use.
    """

    def __init__(self, model: SentenceTransformer, digest: str, threads: int) -> None:
        self._modules = list(model)
        self._device = model.device
        self._budget_tokens = BUDGET_TOKENS[model.device.type]
        self._pad_id = model.tokenizer.pad_token_id or 0
        self._threads = threads
        self.digest = digest
        self.dimensions = int(model.get_embedding_dimension() or 0)
        self.number_format = str(next(model.parameters()).dtype).removeprefix("torch.")
        self.tokenizer = model.tokenizer.backend_tokenizer
        self.window_tokens = min(model.max_seq_length or 512, MAX_WINDOW_TOKENS)
        self.prompts = {key: prompt for key, prompt in model.prompts.items() if prompt}

    @classmethod
    def load(
        cls, name: str, path: Path, threads: int, revision: str | None = None, trust_remote_code: bool = False
    ) -> GeneralEncoder:
        """Load a model on the best device of this machine.

        Args:
            name: the job's `model`, for messages.
            path: the model's folder, or its Hugging Face id.
            threads: CPU threads it may use.
            revision: branch, tag or commit on the hub.
            trust_remote_code: whether code that comes with the model may run.

        Raises:
            ModelLoadError: it can't be loaded; the message says why and what to do.
        """
        require_for_model("model", name, "models")
        import torch
        from sentence_transformers import SentenceTransformer

        device = hardware.best_device()
        with quiet_loading():
            try:
                model = SentenceTransformer(
                    str(path),
                    device=device,
                    model_kwargs={"dtype": torch.float32},
                    local_files_only=path.is_dir(),
                    revision=revision,
                    trust_remote_code=trust_remote_code,
                )
            except (OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, AttributeError) as error:
                raise ModelLoadError(_load_message(name, error)) from error
        tokenizer = getattr(model, "tokenizer", None)
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise ModelLoadError(_load_message(name, ValueError("it has no fast tokenizer (tokenizer.json)")))
        model.eval()
        # The digest of the stored weights is the same on every device.
        digest = weights_digest(model)[:12]
        return cls(model.to(hardware.best_dtype(device)), digest, threads)

    def encode(self, windows: Sequence[TokenIds]) -> npt.NDArray[np.float32]:
        """Return a vector per window (n_windows, dimensions) float32; a window has at least one token."""
        import torch

        torch.set_num_threads(self._threads)
        lengths = [len(window) for window in windows]
        vectors = np.empty((len(windows), self.dimensions), dtype=np.float32)
        with torch.inference_mode():
            for batch in batches(lengths, self._budget_tokens):
                shape = (len(batch), lengths[batch[0]])
                ids = np.full(shape, self._pad_id, dtype=np.int64)
                mask = np.zeros(shape, dtype=np.int64)
                for row, position in enumerate(batch):
                    ids[row, : lengths[position]] = windows[position]
                    mask[row, : lengths[position]] = 1
                features: dict[str, Any] = {
                    "input_ids": torch.from_numpy(ids).to(self._device),
                    "attention_mask": torch.from_numpy(mask).to(self._device),
                }
                features = self._modules[0](features)
                # Only the network computes in half precision; sums over tokens are in float32.
                features["token_embeddings"] = features["token_embeddings"].float()
                for module in self._modules[1:]:
                    features = module.float()(features)
                vectors[batch] = features["sentence_embedding"].cpu().numpy()
        return vectors


def weights_digest(model: SentenceTransformer) -> str:
    """Return the SHA-256 of all weights in hex, in the order of their names."""
    import torch

    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _load_message(name: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"model {name!r} can't be loaded: {reason.rstrip('.')}. Give 'embedded', the folder of a sentence-transformers "
        "model, or its Hugging Face id (needs the hub within reach, or the model in the hub's cache)."
    )


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence progress bars and warnings of the libraries while a model loads; errors are still raised."""
    from transformers.utils import logging as transformers_logging

    loggers = [logging.getLogger(name) for name in ("sentence_transformers", "transformers")]
    levels = [logger.level for logger in loggers]
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
