"""CausalReranker: language models that were trained to answer whether a document fits a query, such as Qwen3-Reranker.

The text is the query and a label is the document, so that a text is read once for all labels.
Source: the model card of Qwen/Qwen3-Reranker-0.6B has the prompt and the score, yes against no.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from classer_core.classifiers import Classifier
from classer_core.errors import RecordError
from classer_core.models.continuations import Continuations
from classer_core.models.hub import failed
from classer_core.models.networks import Network, settings_digest
from classer_core.models.prompts import by_classifier, encoded, encoded_markup
from classer_core.models.windowed import WindowScores
from classer_core.models.windows import TokenIds, split, tokenize

if TYPE_CHECKING:
    from classer_core.models.spec import ModelSpec

HEAD = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: Given a text, judge whether the label describes it\n<Query>: "
)
DOCUMENT = "\n<Document>:"
END = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
YES, NO = "yes", "no"
CLASSIFIERS_KEPT = 256


class CausalReranker:
    """Scores each label by the log odds of "yes" against "no".

    Args:
        network: a causal language model.
        spec: the model.

    Raises:
        ModelLoadError: its vocabulary lacks yes or no.
    """

    def __init__(self, network: Network, spec: ModelSpec) -> None:
        self._network = network
        self._backend = network.tokenizer.backend_tokenizer
        vocabulary = network.tokenizer.get_vocab()
        if YES not in vocabulary or NO not in vocabulary:
            remedy = "Name a reranker that answers yes or no, such as Qwen3-Reranker"
            raise failed(spec, "its vocabulary has no token for yes or for no", remedy)
        self._yes, self._no = vocabulary[YES], vocabulary[NO]
        self._continuations = Continuations(network)
        self._head = encoded_markup(self._backend, HEAD, special=True)
        self._end = encoded_markup(self._backend, END)
        self._document = encoded(self._backend, DOCUMENT)
        self._tails = lru_cache(maxsize=CLASSIFIERS_KEPT)(self._encode_tails)
        settings = settings_digest(HEAD, DOCUMENT, END)
        self.id = f"reranker:{spec.source}@{network.digest}-{settings}-{network.number_format}"

    def windows(self, texts: Sequence[str], classifiers: Sequence[Classifier]) -> list[list[TokenIds] | None]:
        """Return each text in parts that fit between the instruction and the longest label."""
        return [
            None if ids is None else split(ids, max(1, self._network.window_tokens - self._taken(classifier)))
            for ids, classifier in zip(tokenize(self._backend, texts), classifiers, strict=True)
        ]

    def score_windows(
        self, windows: Sequence[TokenIds], classifiers: Sequence[Classifier]
    ) -> list[WindowScores | RecordError]:
        """Return the log odds of each window and each label of the classifier at the same position."""
        scores: dict[int, WindowScores | RecordError] = {}
        for classifier, own in by_classifier(classifiers):
            tails = self._tails(classifier)
            texts = [np.concatenate([windows[n], self._document]) for n in own]
            rows = self._continuations.answers(self._head, texts, tails, self._yes, self._no)
            read = len(self._head) + len(self._document) + sum(map(len, tails))
            scores |= {n: WindowScores(row, read + len(windows[n])) for n, row in zip(own, rows, strict=True)}
        return [scores[n] for n in range(len(windows))]

    def _taken(self, classifier: Classifier) -> int:
        return len(self._head) + len(self._document) + max(map(len, self._tails(classifier)))

    def _encode_tails(self, classifier: Classifier) -> list[TokenIds]:
        most = self._network.window_tokens // 2 - len(self._end)
        labels = [encoded(self._backend, f" {statement}")[:most] for statement in label_statements(classifier)]
        return [np.concatenate([label, self._end]) for label in labels]


def label_statements(classifier: Classifier) -> list[str]:
    """Return what a reranker compares with a text, for each label.

    >>> label_statements(Classifier.of(["a", "b"], descriptions={"b": "the letter"}, text_type="note"))
    ['note about a', 'note about b: the letter']
    """
    descriptions = dict(classifier.descriptions)
    subject = f"{classifier.text_type} about " if classifier.text_type else ""
    return [
        f"{subject}{label}" + (f": {descriptions[label]}" if label in descriptions else "")
        for label in classifier.labels
    ]
