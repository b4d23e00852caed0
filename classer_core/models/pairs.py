"""PairScorer: cross-encoders, which read a text together with a statement about it, once for each label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from classer_core.classifiers import Classifier
from classer_core.errors import RecordError
from classer_core.models.networks import Floats, Network
from classer_core.models.windowed import Values, WindowScores
from classer_core.models.windows import TokenIds, split, tokenize

# Pairs that are sorted by length and put into batches together; more would only take memory.
PAIRS_AT_ONCE = 16_384
# A statement takes at most this share of a window, so that there is room for the text.
STATEMENT_SHARE = 0.5
CLASSIFIERS_KEPT = 256


class PairTemplate:
    """How a tokenizer joins two texts: special tokens before, between and after them, and the type of each token.

    Args:
        backend: a `tokenizers.Tokenizer`.
    """

    def __init__(self, backend: Any) -> None:
        encoding = backend.encode("a", "a")
        owners = list(encoding.sequence_ids)
        first, second = owners.index(0), owners.index(1)
        first_end, second_end = second - owners[:second][::-1].index(0), len(owners) - owners[::-1].index(1)
        ids, types = np.array(encoding.ids, np.int32), np.array(encoding.type_ids, np.int32)
        pieces = slice(0, first), slice(first_end, second), slice(second_end, None)
        self._ids = [ids[piece] for piece in pieces]
        self._types = [types[piece] for piece in pieces]
        self._own_types = types[first], types[second]
        self.n_special = sum(len(piece) for piece in self._ids)

    def join(self, first: TokenIds, second: TokenIds) -> TokenIds:
        """Return the ids of a pair."""
        before, between, after = self._ids
        return np.concatenate([before, first, between, second, after])

    def types(self, first: TokenIds, second: TokenIds) -> TokenIds:
        """Return the type ids of a pair."""
        before, between, after = self._types
        own = np.full(len(first), self._own_types[0]), np.full(len(second), self._own_types[1])
        return np.concatenate([before, own[0], between, own[1], after]).astype(np.int32)


class PairScorer:
    """Scores windows by reading each with one statement per label. Pairs of all windows share batches.

    Args:
        network: a sequence classifier.
        id: see `WindowScorer.id`.
        statements: returns a statement per label of a classifier.
        values: returns logits (n_labels,) of a classifier, given the network's outputs (n_labels, n_outputs).
        text_first: whether the text comes before the statement.
    """

    def __init__(
        self,
        network: Network,
        id: str,
        statements: Callable[[Classifier], list[str]],
        values: Callable[[Floats, Classifier], Values],
        text_first: bool,
    ) -> None:
        self.id = id
        self._network = network
        self._backend = network.tokenizer.backend_tokenizer
        self._template = PairTemplate(self._backend)
        self._values = values
        self._text_first = text_first
        self._room = network.window_tokens - self._template.n_special
        self._statements = lru_cache(maxsize=CLASSIFIERS_KEPT)(
            lambda classifier: self._tokenize_statements(statements(classifier))
        )

    def windows(self, texts: Sequence[str], classifiers: Sequence[Classifier]) -> list[list[TokenIds] | None]:
        """Return each text in parts that fit a window beside the longest statement, without special tokens."""
        return [
            None if ids is None else split(ids, self._room - max(map(len, self._statements(classifier))))
            for ids, classifier in zip(tokenize(self._backend, texts), classifiers, strict=True)
        ]

    def score_windows(
        self, windows: Sequence[TokenIds], classifiers: Sequence[Classifier]
    ) -> list[WindowScores | RecordError]:
        """Return the scores of each window for the labels of the classifier at the same position."""
        scores: list[WindowScores | RecordError] = []
        counts = [len(classifier.labels) for classifier in classifiers]
        for group in groups(counts, PAIRS_AT_ONCE):
            pairs = [self._pair(windows[n], statement) for n in group for statement in self._statements(classifiers[n])]
            rows = [self._template.join(*pair) for pair in pairs]
            outputs = self._network.logits(rows, [self._template.types(*pair) for pair in pairs])
            start = 0
            for n in group:
                end = start + counts[n]
                tokens = sum(map(len, rows[start:end]))
                scores.append(WindowScores(self._values(outputs[start:end], classifiers[n]), tokens))
                start = end
        return scores

    def _pair(self, text: TokenIds, statement: TokenIds) -> tuple[TokenIds, TokenIds]:
        return (text, statement) if self._text_first else (statement, text)

    def _tokenize_statements(self, statements: list[str]) -> list[TokenIds]:
        most = int(self._room * STATEMENT_SHARE)
        return [ids[:most] for ids in tokenize(self._backend, statements) if ids is not None]


def groups(counts: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield positions in order, in groups whose counts sum up to at most `most`; a larger one is alone.

    >>> list(groups([2, 2, 5, 1], most=4))
    [[0, 1], [2], [3]]
    """
    group: list[int] = []
    total = 0
    for position, count in enumerate(counts):
        if group and total + count > most:
            yield group
            group, total = [], 0
        group.append(position)
        total += count
    if group:
        yield group
