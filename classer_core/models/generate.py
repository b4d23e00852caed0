"""Kind `generate:ID`: causal language models, which score a label by how likely its words follow the text.

    "The app crashes when I log in"
    Category of this support ticket: technical

The likelihood of a label is the mean over its tokens, so that long labels are not unlikely. What the label has after
texts without content is subtracted, so that common words do not attract all texts. Nothing is generated or parsed.
Source: Zhao et al., Calibrate Before Use, arXiv 2102.09690; Holtzman et al., Surface Form Competition, arXiv
2104.08315.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from classer_core.classifiers import Classifier
from classer_core.errors import RecordError
from classer_core.models import Model
from classer_core.models.continuations import Continuations
from classer_core.models.networks import Floats, Network, settings_digest
from classer_core.models.prompts import by_classifier, encoded
from classer_core.models.shortlists import with_shortlist
from classer_core.models.windowed import Values, WindowScores
from classer_core.models.windows import TokenIds, split, tokenize

if TYPE_CHECKING:
    from classer_core.models.spec import ModelSpec

PROMPT = "Category of this {text_type}:"
CONTENT_FREE = ("N/A", "...", "text")
# Factor of differences of mean log-likelihoods.
SHARPNESS = 1.5
CLASSIFIERS_KEPT = 256


def load(spec: ModelSpec, threads: int | None = None) -> Model:
    """Load a causal language model.

    Raises:
        ModelLoadError: it can't be loaded, or is of another kind.
    """
    network = Network.load(spec, "generate", "AutoModelForCausalLM", threads)
    return with_shortlist(LabelLikelihoods(network, spec.source, spec.prompt or PROMPT), spec.shortlist, threads)


class LabelLikelihoods:
    """Scores each label by its likelihood after a text.

    Args:
        network: a causal language model.
        source: its id.
        prompt: the words between a text and a label; may contain {text_type}.
    """

    def __init__(self, network: Network, source: str, prompt: str) -> None:
        self._network = network
        self._backend = network.tokenizer.backend_tokenizer
        self._continuations = Continuations(network)
        self._words = prompt.strip()
        self._prompt = lru_cache(maxsize=CLASSIFIERS_KEPT)(self._encode_prompt)
        self._common = lru_cache(maxsize=CLASSIFIERS_KEPT)(self._without_content)
        settings = settings_digest(self._words, CONTENT_FREE, SHARPNESS)
        self.id = f"generate:{source}@{network.digest}-{settings}-{network.number_format}"

    def windows(self, texts: Sequence[str], classifiers: Sequence[Classifier]) -> list[list[TokenIds] | None]:
        """Return each text in parts that fit beside the prompt and the longest label."""
        return [
            None if ids is None else split(ids, max(1, self._network.window_tokens - self._prompt(classifier).taken))
            for ids, classifier in zip(tokenize(self._backend, texts), classifiers, strict=True)
        ]

    def score_windows(
        self, windows: Sequence[TokenIds], classifiers: Sequence[Classifier]
    ) -> list[WindowScores | RecordError]:
        """Return the calibrated likelihoods of the labels after each window."""
        scores: dict[int, WindowScores | RecordError] = {}
        for classifier, own in by_classifier(classifiers):
            rows = self._likelihoods([windows[n] for n in own], classifier) - self._common(classifier)
            prompt = self._prompt(classifier)
            for n, row in zip(own, rows, strict=True):
                scores[n] = WindowScores(_logits(row, classifier), len(windows[n]) + prompt.read)
        return [scores[n] for n in range(len(windows))]

    def _likelihoods(self, texts: Sequence[TokenIds], classifier: Classifier) -> Floats:
        prompt = self._prompt(classifier)
        return self._continuations.likelihoods(
            prompt.head, [np.concatenate([text, prompt.cue]) for text in texts], prompt.labels
        )

    def _without_content(self, classifier: Classifier) -> Floats:
        """Return the mean log-likelihoods (n_labels,) after texts without content."""
        texts = [encoded(self._backend, text) for text in CONTENT_FREE]
        return np.asarray(self._likelihoods(texts, classifier).mean(axis=0), np.float32)

    def _encode_prompt(self, classifier: Classifier) -> _Prompt:
        descriptions = dict(classifier.descriptions)
        listed = [f"{label}: {descriptions[label]}\n" for label in classifier.labels if label in descriptions]
        head = encoded(self._backend, "".join(listed) + '"', special=True)[: self._network.window_tokens // 2]
        cue = encoded(self._backend, '"\n' + self._words.replace("{text_type}", classifier.text_type or "text"))
        return _Prompt(head, cue, [encoded(self._backend, f" {label}") for label in classifier.labels])


class _Prompt:
    """The tokens around a text.

    Attributes:
        head: tokens before it.
        cue: tokens after it.
        labels: tokens of each label.
        taken: tokens of a window that are not the text's.
        read: tokens that are read beside the text; the last one of a label is predicted only.
    """

    def __init__(self, head: TokenIds, cue: TokenIds, labels: list[TokenIds]) -> None:
        self.head, self.cue, self.labels = head, cue, labels
        self.taken = len(head) + len(cue) + max(map(len, labels))
        self.read = len(head) + len(cue) + sum(len(label) - 1 for label in labels)


def _logits(row: Floats, classifier: Classifier) -> Values:
    """Return logits (n_labels,), given calibrated likelihoods (n_labels,).

    For labels that are independent of each other, a label that is as likely as without content has probability 0.5.
    """
    return np.asarray(SHARPNESS * row, np.float32)
