"""Network: a model of transformers, loaded on the best device, that computes padded batches within a token budget."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from classer_core import hardware
from classer_core.batching import batches
from classer_core.models.choosing import kind_for
from classer_core.models.general import BUDGET_TOKENS, quiet_loading, weights_digest
from classer_core.models.hub import ModelFiles, check_memory, check_remote_code, failed, look_at
from classer_core.models.registry import KINDS
from classer_core.models.windows import TokenIds

if TYPE_CHECKING:
    import torch

    from classer_core.models.spec import ModelSpec

Floats = npt.NDArray[np.float32]
Item = TypeVar("Item")
Output = TypeVar("Output")

MAX_WINDOW_TOKENS = 8_192
# What transformers raises for files that are missing, damaged or of another architecture.
LOAD_ERRORS = (OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, AttributeError)


class Network:
    """A loaded model with its tokenizer.

    Attributes:
        model: the model of transformers.
        tokenizer: its `PreTrainedTokenizerFast`.
        files: what was known of it before it was loaded.
        device: `cpu`, `cuda` or `mps`.
        window_tokens: most tokens of an input, special tokens included.
        digest: of everything but the number format that can change a score.
    """

    def __init__(self, model: Any, tokenizer: Any, files: ModelFiles, digest: str, threads: int | None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.files = files
        self.device = model.device.type
        self.digest = digest
        positions = int(getattr(model.config, "max_position_embeddings", 0) or MAX_WINDOW_TOKENS)
        # RoBERTa counts positions from the padding token's id + 1 on.
        if str(model.config.model_type) in ("roberta", "xlm-roberta", "camembert"):
            positions -= int(model.config.pad_token_id or 0) + 1
        self.window_tokens = min(positions, int(min(tokenizer.model_max_length, 1 << 30)), MAX_WINDOW_TOKENS)
        self._threads = threads or hardware.available_cores()

    @classmethod
    def load(cls, spec: ModelSpec, kind: str, auto_class: str, threads: int | None = None) -> Network:
        """Load a model on the best device of this machine.

        Args:
            spec: the model.
            kind: the kind it is loaded as.
            auto_class: the class of transformers that loads it, such as `AutoModelForSequenceClassification`.
            threads: CPU threads it may use (default: all cores).

        Raises:
            ModelLoadError: it can't be loaded, is of another kind, or does not fit into memory.
        """
        files = look_at(spec)
        endings = KINDS[kind].architectures
        if not files.architecture.endswith(endings):
            other, reason = kind_for(spec.source, files)
            message = f"it is not a model of the kind {kind}: {reason}"
            raise failed(spec, message, f"Write {other}:{spec.source}" if other != kind else "Name another model")
        if files.weights_bytes == 0 or (files.weights_bytes is None and files.commit is None):
            raise failed(spec, "the folder has no weights (model.safetensors)", "Download the model again")
        check_remote_code(spec, files)
        device = hardware.best_device()
        dtype = hardware.best_dtype(device)
        check_memory(spec, files, dtype.itemsize, device)
        model, tokenizer = _load(spec, auto_class, dtype)
        digest = f"{files.commit or weights_digest(model)}"[:12]
        if spec.trust_remote_code:
            digest += "-remote"
        return cls(model.to(device).eval(), tokenizer, files, digest, threads)

    @property
    def number_format(self) -> str:
        """Return the name of the number format."""
        return str(self.model.dtype).removeprefix("torch.")

    @property
    def budget_tokens(self) -> int:
        """Return the most tokens of a batch, padding included."""
        return BUDGET_TOKENS[self.device]

    def logits(self, rows: Sequence[TokenIds], types: Sequence[TokenIds] | None = None) -> Floats:
        """Return the outputs (n_rows, n_outputs) float32 of a sequence classifier.

        Args:
            rows: token ids of each input, special tokens included.
            types: token type ids of each input, for models that have them.
        """
        import torch

        outputs: list[Floats] = [np.zeros(0, np.float32)] * len(rows)

        def compute(batch: Sequence[int]) -> list[Floats]:
            inputs = self.padded([rows[n] for n in batch])
            if types is not None and "token_type_ids" in self.tokenizer.model_input_names:
                inputs["token_type_ids"] = self.padded([types[n] for n in batch], pad=0)["input_ids"]
            return list(self.model(**inputs).logits.float().cpu().numpy())

        self.use_threads()
        with torch.inference_mode():
            for batch in batches([len(row) for row in rows], self.budget_tokens):
                for n, output in zip(batch, halving(compute, batch), strict=True):
                    outputs[n] = output
        return np.stack(outputs)

    def padded(self, rows: Sequence[TokenIds], pad: int | None = None, left: bool = False) -> dict[str, torch.Tensor]:
        """Return `input_ids` and `attention_mask` (n_rows, longest) of rows, padded at the end, or at the start."""
        import torch

        filler = self.tokenizer.pad_token_id or 0 if pad is None else pad
        shape = (len(rows), max(len(row) for row in rows))
        ids, mask = np.full(shape, filler, np.int64), np.zeros(shape, np.int64)
        for number, row in enumerate(rows):
            place = slice(shape[1] - len(row), None) if left else slice(len(row))
            ids[number, place], mask[number, place] = row, 1
        return {
            "input_ids": torch.from_numpy(ids).to(self.device),
            "attention_mask": torch.from_numpy(mask).to(self.device),
        }

    def use_threads(self) -> None:
        """Let the following computations use this model's threads."""
        import torch

        torch.set_num_threads(self._threads)


def halving(compute: Callable[[Sequence[Item]], list[Output]], batch: Sequence[Item]) -> list[Output]:
    """Return `compute(batch)`; if the GPU's memory is too small for it, that of its halves.

    Raises:
        torch.OutOfMemoryError: a single item is too much.
    """
    import torch

    try:
        return compute(batch)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    # Outside of the handler, whose traceback keeps the tensors of the failed batch.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(batch) // 2
    return halving(compute, batch[:middle]) + halving(compute, batch[middle:])


def _load(spec: ModelSpec, auto_class: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return a model and its tokenizer.

    Raises:
        ModelLoadError: files are missing or damaged.
    """
    import transformers
    from safetensors import SafetensorError

    options = {"revision": spec.revision, "trust_remote_code": spec.trust_remote_code}
    with quiet_loading():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(spec.source, **options)
            loader = getattr(transformers, auto_class)
            model, report = loader.from_pretrained(spec.source, dtype=dtype, output_loading_info=True, **options)
        except (*LOAD_ERRORS, SafetensorError) as error:
            remedy = "Correct the id, or download the model again"
            raise failed(spec, str(error).strip() or type(error).__name__, remedy) from error
    if missing := sorted(report["missing_keys"]):
        # transformers fills them with random numbers and only warns.
        message = f"its weights lack {missing[0]}" + (f" and {len(missing) - 1} others" if missing[1:] else "")
        raise failed(spec, message, "Name a model that has been trained for this")
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise failed(spec, "it has no fast tokenizer (tokenizer.json)", "Convert it with transformers")
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    # "[SEP]" or "<|im_end|>" in a record is text: it must not end the place that the record has in the input.
    tokenizer.backend_tokenizer.encode_special_tokens = True
    return model, tokenizer


def settings_digest(*settings: object) -> str:
    """Return a short digest of settings that change scores, for a model's id."""
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:6]
