"""EmbeddingModel: sentence-embedding models, which score a label by the cosine of its vector and the text's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from classer_core import hardware
from classer_core.classifiers import Classifier
from classer_core.errors import FailureCode, RecordError
from classer_core.heads import Labelled, Vectors, unit
from classer_core.label_heads import LabelHeads, score_parts
from classer_core.models import Scores
from classer_core.models.encoders import LoadedEncoder, load_encoder
from classer_core.models.windows import MAX_TEXT_TOKENS, TokenIds, Tokenizer

if TYPE_CHECKING:
    from classer_core.models.spec import ModelSpec

# Windows encoded at once. A chunk of short texts has fewer; a book is encoded in several parts.
WINDOWS_AT_ONCE = 8_192


def load(spec: ModelSpec, threads: int | None = None) -> EmbeddingModel:
    """Load a sentence-embedding model; see `EmbeddingModel.load`."""
    return EmbeddingModel.load(spec.source, threads, spec.revision, spec.trust_remote_code)


class EmbeddingModel:
    """A sentence-transformers model that reads whole texts, window by window.

    Args:
        loaded: the encoder and its tokenizer.
        name: the job's `model`.
    """

    def __init__(self, loaded: LoadedEncoder, name: str) -> None:
        self._encoder = loaded.encoder
        prompts, window_tokens = loaded.prompts, loaded.window_tokens
        # For models trained on queries and passages, labels are the queries and texts the passages.
        self._label_tokenizer = Tokenizer(loaded.tokenizer, window_tokens, prompts.get("query", ""))
        passage = prompts.get("document", prompts.get("passage", ""))
        self._text_tokenizer = Tokenizer(loaded.tokenizer, window_tokens, passage)
        self._label_heads = LabelHeads(self._embed_words, self.embed)
        self.label_vectors = self._label_heads.vectors
        self.head = self._label_heads.head
        self._id = f"{name}@{loaded.digest}-{loaded.encoder.number_format}"

    @classmethod
    def load(
        cls, name: str, threads: int | None = None, revision: str | None = None, trust_remote_code: bool = False
    ) -> EmbeddingModel:
        """Load a model on the best device of this machine.

        Args:
            name: `embedded`, a Hugging Face id, or a local folder.
            threads: CPU threads it may use (default: all cores).
            revision: branch, tag or commit on the hub.
            trust_remote_code: whether code that comes with the model may run.

        Raises:
            ModelLoadError: it can't be loaded; the message says why and what to do.
        """
        hardware.reuse_freed_memory()
        return cls(load_encoder(name, threads or hardware.available_cores(), revision, trust_remote_code), name)

    @property
    def id(self) -> str:
        """Return `name@<digest of the weights>-<number format>`."""
        return self._id

    @property
    def weights_id(self) -> str:
        """Return the id without the number format; tuned classifiers are valid for all number formats."""
        return self._id.rpartition("-")[0]

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        """Return the scores of each text for its classifier's labels, as `Model.score` does."""
        windows = self._text_tokenizer.windows([part for parts in texts for part in parts])
        sums = self._sum_windows([part_windows or [] for part_windows in windows])
        scores: list[Scores | RecordError] = []
        start = 0
        for parts, classifier in zip(texts, classifiers, strict=True):
            text_windows, end = windows[start : start + len(parts)], start + len(parts)
            tokens = sum(len(window) for part in text_windows for window in part or [])
            if any(part is None for part in text_windows) or tokens > MAX_TEXT_TOKENS:
                message = f"the text has more than {MAX_TEXT_TOKENS:,} tokens: split it into several records"
                scores.append(RecordError(FailureCode.TEXT_TOO_LONG, message, "text"))
            elif classifier.learned and classifier.learned.model != self.weights_id:
                message = f"{classifier.name} was tuned for model {classifier.learned.model}, not {self.weights_id}"
                scores.append(RecordError(FailureCode.CLASSIFIER_INVALID, f"{message}: tune it again", "classifier"))
            else:
                scores.append(score_parts(self.head(classifier), sums[start:end], tokens))
            start = end
        return scores

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors (n_texts, n_dimensions) float32 of whole texts of up to `MAX_TEXT_TOKENS` tokens."""
        return self._embed([windows or [] for windows in self._text_tokenizer.windows(texts)])

    def examples(self, classifier: Classifier) -> Labelled:
        """Return the vectors of the classifier's examples, with the positions of their labels."""
        return self._label_heads.examples(classifier)

    def _embed_words(self, texts: Sequence[str]) -> Vectors:
        return self._embed([windows or [] for windows in self._label_tokenizer.windows(texts)])

    def _embed(self, windows: Sequence[Sequence[TokenIds]]) -> Vectors:
        """Return a unit vector per text (n_texts, n_dimensions), given the windows of each text."""
        return unit(self._sum_windows(windows))

    def _sum_windows(self, windows: Sequence[Sequence[TokenIds]]) -> Vectors:
        """Return the sum of window vectors per text (n_texts, n_dimensions), each weighted by its number of tokens."""
        owners = np.repeat(np.arange(len(windows)), [len(text_windows) for text_windows in windows])
        flat = [window for text_windows in windows for window in text_windows]
        total: Vectors | None = None
        for start in range(0, len(flat), WINDOWS_AT_ONCE):
            part = flat[start : start + WINDOWS_AT_ONCE]
            vectors = self._encoder.encode(part)
            if total is None:
                total = np.zeros((len(windows), vectors.shape[1]), dtype=np.float32)
            weights = np.array([len(window) for window in part], dtype=np.float32)[:, None]
            np.add.at(total, owners[start : start + len(part)], vectors * weights)
        return np.zeros((len(windows), 0), np.float32) if total is None else total
