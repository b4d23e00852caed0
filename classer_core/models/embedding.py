"""Sentence-embedding models: a label scores by the likeness of its vector and the text's."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classer_core import hardware
from classer_core.batching import batches, padded_length, padded_rows
from classer_core.classifiers import Classifier
from classer_core.errors import FailureCode, ModelLoadError, RecordError
from classer_core.heads import Labelled, Vectors, unit
from classer_core.label_heads import LabelHeads, score_parts
from classer_core.models import EMBEDDED, Scores, embedded
from classer_core.models.windows import MAX_TEXT_TOKENS, TokenIds, Tokenizer

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Measured on ag_news: a CPU's caches like small batches, a GPU wants to be filled.
BUDGET_TOKENS = {"cpu": 2_048, "mps": 16_384, "cuda": 131_072}
# Windows in memory at once; a batch job's chunk of short texts fits whole, a book goes through in several parts.
WINDOWS_AT_ONCE = 8_192
# So few tokens go through on one thread: more of them gain a quarter of 30 ms where nobody else needs the cores, and
# wait for each other for 200 to 700 ms where somebody does. A stream's single records are such.
ONE_THREAD_TOKENS = 512


class EmbeddingModel:
    """Any sentence-transformers model, run on unpadded windows of the whole text."""

    def __init__(self, model: SentenceTransformer, name: str, digest: str) -> None:
        import torch

        self._threads = torch.get_num_threads()
        self._modules = list(model)
        self._device = model.device
        self._budget_tokens = BUDGET_TOKENS[model.device.type]
        self._dimensions = int(model.get_embedding_dimension() or 0)
        self._pad_id = model.tokenizer.pad_token_id or 0
        window_tokens = min(model.max_seq_length or 512, 8_192)
        backend = model.tokenizer.backend_tokenizer
        prompts = {key: prompt for key, prompt in model.prompts.items() if prompt}
        # Models trained on questions and passages: the label asks, the text answers.
        self._label_tokenizer = Tokenizer(backend, window_tokens, prompts.get("query", ""))
        passage = prompts.get("document", prompts.get("passage", ""))
        self._text_tokenizer = Tokenizer(backend, window_tokens, passage)
        self._label_heads = LabelHeads(self._embed_words, self.embed)
        self.label_vectors = self._label_heads.vectors
        self.head = self._label_heads.head
        dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
        self._id = f"{name}@{digest}-{dtype}"

    @classmethod
    def load(cls, name: str, threads: int | None = None) -> EmbeddingModel:
        """`embedded`, a Hugging Face id or a local folder in, the model on its best device out.

        Raises:
            ModelLoadError: it can't be loaded; the message says why and what to do.
        """
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads or hardware.available_cores())
        hardware.reuse_freed_memory()
        device = hardware.best_device()
        path = embedded.published_folder() if name == EMBEDDED else name
        with quiet_loading():
            try:
                model = SentenceTransformer(
                    str(path),
                    device=device,
                    model_kwargs={"dtype": torch.float32},
                    local_files_only=Path(path).is_dir(),
                )
            except (OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, AttributeError) as error:
                raise ModelLoadError(_load_message(name, error)) from error
        tokenizer = getattr(model, "tokenizer", None)
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise ModelLoadError(_load_message(name, ValueError("it has no fast tokenizer (tokenizer.json)")))
        model.eval()
        if name == EMBEDDED:
            embedded.add_training(model[0].get_submodule("auto_model"))
        # The digest is of the weights as they are stored: it is the same on every device.
        digest = embedded.DIGEST if name == EMBEDDED else weights_digest(model)[:12]
        return cls(model.to(hardware.best_dtype(device)), name, digest)

    @property
    def id(self) -> str:
        """`name@<digest of the weights>-<number format>`."""
        return self._id

    @property
    def weights_id(self) -> str:
        """The id without the number format: vectors in other formats are alike."""
        return self._id.rpartition("-")[0]

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        """Logits of each text for its classifier's labels; see `Model.score`."""
        windows = self._text_tokenizer.windows([part for parts in texts for part in parts])
        sums = self._sum_windows([part_windows or [] for part_windows in windows])
        scores: list[Scores | RecordError] = []
        start = 0
        for parts, classifier in zip(texts, classifiers, strict=True):
            mine, end = windows[start : start + len(parts)], start + len(parts)
            tokens = sum(len(window) for part in mine for window in part or [])
            if any(part is None for part in mine) or tokens > MAX_TEXT_TOKENS:
                message = f"the text has more than {MAX_TEXT_TOKENS:,} tokens: split it into several records"
                scores.append(RecordError(FailureCode.TEXT_TOO_LONG, message, "text"))
            elif classifier.learned and classifier.learned.model != self.weights_id:
                message = f"{classifier.name} was tuned for model {classifier.learned.model}, this is {self.weights_id}"
                scores.append(RecordError(FailureCode.CLASSIFIER_INVALID, f"{message}: tune it again", "classifier"))
            else:
                scores.append(score_parts(self.head(classifier), sums[start:end], tokens))
            start = end
        return scores

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Texts in, unit vectors (n_texts, n_dimensions) float32 out; texts of any length up to 1M tokens."""
        return self._embed([windows or [] for windows in self._text_tokenizer.windows(texts)])

    def examples(self, classifier: Classifier) -> Labelled:
        """Return the vectors of the classifier's examples, with the positions of their labels."""
        return self._label_heads.examples(classifier)

    def _embed_words(self, texts: Sequence[str]) -> Vectors:
        return self._embed([windows or [] for windows in self._label_tokenizer.windows(texts)])

    def _embed(self, windows: Sequence[Sequence[TokenIds]]) -> Vectors:
        """Windows of each text in, one unit vector a text out."""
        return unit(self._sum_windows(windows))

    def _sum_windows(self, windows: Sequence[Sequence[TokenIds]]) -> Vectors:
        """Windows of each text in, the sum of their vectors out, each weighted by its tokens."""
        owners = np.repeat(np.arange(len(windows)), [len(text_windows) for text_windows in windows])
        flat = [window for text_windows in windows for window in text_windows]
        total: Vectors | None = None
        for start in range(0, len(flat), WINDOWS_AT_ONCE):
            part = flat[start : start + WINDOWS_AT_ONCE]
            vectors = self._forward(part)
            if total is None:
                total = np.zeros((len(windows), vectors.shape[1]), dtype=np.float32)
            weights = np.array([len(window) for window in part], dtype=np.float32)[:, None]
            np.add.at(total, owners[start : start + len(part)], vectors * weights)
        return np.zeros((len(windows), 0), np.float32) if total is None else total

    def _forward(self, windows: Sequence[TokenIds]) -> Vectors:
        """(n_windows, n_dimensions) float32 unit vectors."""
        import torch

        lengths = [len(window) for window in windows]
        vectors: Vectors | None = None
        torch.set_num_threads(1 if sum(lengths) <= ONE_THREAD_TOKENS else self._threads)
        with torch.inference_mode():
            for batch in batches(lengths, self._budget_tokens):
                length = padded_length(lengths[batch[0]])
                shape = (padded_rows(len(batch), length), length)
                ids = np.full(shape, self._pad_id, dtype=np.int64)
                mask = np.zeros(shape, dtype=np.int64)
                mask[len(batch) :, 0] = 1  # attention over nothing at all is not a number
                for row, position in enumerate(batch):
                    ids[row, : lengths[position]] = windows[position]
                    mask[row, : lengths[position]] = 1
                features: dict[str, Any] = {
                    "input_ids": torch.from_numpy(ids).to(self._device),
                    "attention_mask": torch.from_numpy(mask).to(self._device),
                }
                features = self._modules[0](features)
                # Half precision is for the network; what is summed over tokens is summed in float32.
                features["token_embeddings"] = features["token_embeddings"].float()
                for module in self._modules[1:]:
                    features = module.float()(features)
                rows = features["sentence_embedding"][: len(batch)].cpu().numpy()
                if vectors is None:
                    vectors = np.empty((len(windows), rows.shape[1]), dtype=np.float32)
                vectors[batch] = rows
        return np.zeros((0, 0), np.float32) if vectors is None else vectors


def weights_digest(model: SentenceTransformer) -> str:
    """The digest of all weights; name order, so that it does not depend on how they were stored."""
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
    """No progress bars and no hints of the libraries while loading: what matters is in the error."""
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
