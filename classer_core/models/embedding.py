"""Sentence-embedding models: a label scores by the likeness of its vector and the text's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from classer_core import hardware
from classer_core.calibration import CALIBRATION
from classer_core.classifiers import Classifier
from classer_core.errors import FailureCode, RecordError
from classer_core.heads import Head, Labelled, fit_examples
from classer_core.models import Scores
from classer_core.models.encoders import LoadedEncoder, load_encoder
from classer_core.models.windows import MAX_TEXT_TOKENS, TokenIds, Tokenizer

Vectors = npt.NDArray[np.float32]

# Windows in memory at once; a batch job's chunk of short texts fits whole, a book goes through in several parts.
WINDOWS_AT_ONCE = 8_192
LABEL_VECTORS_CACHED = 1_024
# An example counts as much as a quarter of what the label's own words say.
LABEL_WEIGHT_IN_EXAMPLES = 4


class EmbeddingModel:
    """Any sentence-transformers model, run on unpadded windows of the whole text."""

    def __init__(self, loaded: LoadedEncoder, name: str) -> None:
        self._encoder = loaded.encoder
        prompts, window_tokens = loaded.prompts, loaded.window_tokens
        # Models trained on questions and passages: the label asks, the text answers.
        self._label_tokenizer = Tokenizer(loaded.tokenizer, window_tokens, prompts.get("query", ""))
        passage = prompts.get("document", prompts.get("passage", ""))
        self._text_tokenizer = Tokenizer(loaded.tokenizer, window_tokens, passage)
        self.label_vectors = lru_cache(maxsize=LABEL_VECTORS_CACHED)(self._embed_labels)
        self.head = lru_cache(maxsize=LABEL_VECTORS_CACHED)(self._fit_head)
        self._id = f"{name}@{loaded.digest}-{loaded.encoder.number_format}"

    @classmethod
    def load(cls, name: str, threads: int | None = None) -> EmbeddingModel:
        """Load `embedded`, a Hugging Face id or a local folder on its best device.

        Raises:
            ModelLoadError: it can't be loaded; the message says why and what to do.
        """
        hardware.reuse_freed_memory()
        return cls(load_encoder(name, threads or hardware.available_cores()), name)

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
                scores.append(self._score_parts(sums[start:end], tokens, classifier))
            start = end
        return scores

    def _score_parts(self, sums: Vectors, tokens: int, classifier: Classifier) -> Scores:
        """One text's parts (n_parts, n_dimensions) in; they add up to the text's vector."""
        head = self.head(classifier)
        # One text at a time: a product over several could sum in another order, and then so would the answer.
        values = head.vectors @ _unit(sums.sum(axis=0)).astype(np.float64) + head.bias
        scores = Scores(values.astype(np.float32), tokens)
        if len(sums) > 1:
            towards_best = head.vectors[values.argmax()] - head.vectors.mean(axis=0)
            scores.strongest = int((sums @ towards_best).argmax())
        return scores

    def _fit_head(self, classifier: Classifier) -> Head:
        """All that is known of a classifier's labels, as calibrated logits of a text's unit vector."""
        if classifier.learned is not None:
            return classifier.learned.head(classifier.labels)
        if classifier.mode == "multi" or len(classifier.labels) == 1:
            return CALIBRATION.each_alone(self.label_vectors(classifier))
        if not classifier.examples:
            return CALIBRATION.by_words(self.label_vectors(classifier))
        words = self.label_vectors(dataclasses.replace(classifier, examples=()))
        return CALIBRATION.by_examples(fit_examples(words, self.examples(classifier)))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Texts in, unit vectors (n_texts, n_dimensions) float32 out; texts of any length up to 1M tokens."""
        return self._embed([windows or [] for windows in self._text_tokenizer.windows(texts)])

    def _embed_labels(self, classifier: Classifier) -> Vectors:
        """(n_labels, n_dimensions) float32 unit vectors; one row combines all that is known of a label."""
        descriptions, examples = dict(classifier.descriptions), dict(classifier.examples)
        subject = classifier.text_type or "text"
        rows = []
        for label in classifier.labels:
            words = [label, f"This {subject} is about {label}.", f"This {subject} is {label}."]
            if label in descriptions:
                words += [descriptions[label], f"{label}: {descriptions[label]}"] * 2
            row = _unit(self._embed_with(self._label_tokenizer, words).mean(axis=0))
            if label in examples:
                shown = self._embed_with(self._text_tokenizer, examples[label])
                row = _unit(row * LABEL_WEIGHT_IN_EXAMPLES + shown.sum(axis=0))
            rows.append(row)
        return np.stack(rows)

    def examples(self, classifier: Classifier) -> Labelled:
        """Vectors of the classifier's examples, with the positions of their labels."""
        texts = [text for _, shown in classifier.examples for text in shown]
        owners = [classifier.labels.index(label) for label, shown in classifier.examples for _ in shown]
        vectors = self.embed(texts) if texts else np.zeros((0, self._encoder.dimensions), np.float32)
        return Labelled(vectors, np.array(owners, dtype=np.int64))

    def _embed_with(self, tokenizer: Tokenizer, texts: Sequence[str]) -> Vectors:
        return self._embed([windows or [] for windows in tokenizer.windows(texts)])

    def _embed(self, windows: Sequence[Sequence[TokenIds]]) -> Vectors:
        """Windows of each text in, one unit vector a text out."""
        return _unit(self._sum_windows(windows))

    def _sum_windows(self, windows: Sequence[Sequence[TokenIds]]) -> Vectors:
        """Windows of each text in, the sum of their vectors out, each weighted by its tokens."""
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


def _unit(vectors: Vectors) -> Vectors:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return unit
