"""Continuations: what a causal language model says about many continuations of many texts.

The beginning that all texts share is computed once per call, each text once, and then only the tokens of each
continuation, on a copy of the text's keys and values.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from classer_core.batching import batches
from classer_core.models.networks import Network, halving
from classer_core.models.windows import TokenIds

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]

# Logits over a whole vocabulary that are in memory at once; Gemma's has 262,144 words, so that this is 256 positions.
LOGITS_AT_ONCE = {"cpu": 1 << 26, "mps": 1 << 27, "cuda": 1 << 30}
# Copied keys and values of a call, in positions, as a multiple of the tokens of a batch.
CACHED_FACTOR = 8


@dataclass
class _Prefix:
    """Texts that have been read.

    Attributes:
        cache: keys and values.
        mask: (n_texts, n_positions), 0 for padding.
        logits: (n_texts, n_kept, vocabulary) after each of the last positions.
    """

    cache: Any
    mask: torch.Tensor
    logits: torch.Tensor

    def rows(self, numbers: Sequence[int]) -> tuple[Any, torch.Tensor]:
        """Return copies of the keys and values, and of the mask, of some texts; a text may occur many times."""
        import torch

        index = torch.tensor(numbers, device=self.mask.device)
        selected = copy.copy(self.cache)
        selected.layers = [copy.copy(layer) for layer in self.cache.layers]
        selected.batch_select_indices(index)  # assigns new tensors and leaves the originals as they are
        return selected, self.mask[index]


class Continuations:
    """Computes what follows texts.

    Args:
        network: a causal language model.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        vocabulary = int(network.model.get_output_embeddings().weight.shape[0])
        # Their windows count padding between the shared beginning and a text as tokens: both are read together then.
        self._has_sliding_layers = bool(getattr(network.model.config, "sliding_window", None))
        self._positions = max(1, LOGITS_AT_ONCE[network.device] // vocabulary)

    def likelihoods(self, head: TokenIds, texts: Sequence[TokenIds], tails: Sequence[TokenIds]) -> Floats:
        """Return the mean log-likelihood per token (n_texts, n_tails) of each tail after head and text.

        Args:
            head: tokens before every text; at least one.
            texts: tokens of each text; at least one each.
            tails: tokens of each continuation; at least one each.
        """
        import torch

        first = torch.tensor([int(tail[0]) for tail in tails], device=self._network.device)
        longer = [n for n, tail in enumerate(tails) if len(tail) > 1]
        # The last token of a tail is predicted but need not be read.
        inputs, targets = [tails[n][:-1] for n in longer], [tails[n][1:] for n in longer]

        def read(prefix: _Prefix) -> torch.Tensor:
            total = torch.log_softmax(prefix.logits[:, -1].float(), -1)[:, first]

            def add(logits: torch.Tensor, pairs: Sequence[tuple[int, int]]) -> None:
                for row, (text, tail) in zip(logits, pairs, strict=True):
                    wanted = torch.from_numpy(targets[tail].astype(np.int64)).to(row.device)
                    chosen = torch.log_softmax(row[-len(wanted) :].float(), -1).gather(1, wanted[:, None])
                    total[text, longer[tail]] += chosen.sum()

            self._continue(prefix, inputs, add, keep_all=True)
            return total

        sums = self._each(head, texts, read)
        return np.asarray(sums / np.array([len(tail) for tail in tails], np.float32), np.float32)

    def answers(
        self, head: TokenIds, texts: Sequence[TokenIds], tails: Sequence[TokenIds], yes: int, no: int
    ) -> Floats:
        """Return the log odds (n_texts, n_tails) of the token `yes` against `no` after head, text and tail."""
        import torch

        def read(prefix: _Prefix) -> torch.Tensor:
            odds = torch.zeros(len(prefix.mask), len(tails), device=prefix.mask.device)

            def put(logits: torch.Tensor, pairs: Sequence[tuple[int, int]]) -> None:
                for row, (text, tail) in zip(logits[:, -1].float(), pairs, strict=True):
                    odds[text, tail] = row[yes] - row[no]

            self._continue(prefix, tails, put, keep_all=False)
            return odds

        return self._each(head, texts, read)

    def _each(self, head: TokenIds, texts: Sequence[TokenIds], read: Callable[[_Prefix], torch.Tensor]) -> Floats:
        """Return the rows that `read` makes of batches of texts, in the order of the texts."""
        import torch

        rows: dict[int, Floats] = {}
        self._network.use_threads()
        with torch.inference_mode():
            common = None if self._has_sliding_layers else self._forward(None, None, [head], keep=1)

            def compute(batch: Sequence[int]) -> list[Floats]:
                own = [texts[n] for n in batch]
                if common is None:
                    prefix = self._forward(None, None, [np.concatenate([head, text]) for text in own], keep=1)
                else:
                    prefix = self._forward(*common.rows([0] * len(batch)), own, keep=1)
                return list(read(prefix).cpu().numpy())

            for batch in self._batches([len(text) for text in texts], len(head), keep_all=False):
                rows |= dict(zip(batch, halving(compute, batch), strict=True))
        return np.stack([rows[n] for n in range(len(texts))])

    def _continue(
        self,
        prefix: _Prefix,
        tails: Sequence[TokenIds],
        take: Callable[[torch.Tensor, Sequence[tuple[int, int]]], None],
        keep_all: bool,
    ) -> None:
        """Call `take` with logits (n_pairs, n_positions, vocabulary) and pairs (text, tail), for all pairs of both."""
        for length in sorted({len(tail) for tail in tails}):
            # Tails of one length need no padding, which would be a gap between a text and its tail.
            same = [n for n, tail in enumerate(tails) if len(tail) == length]
            pairs = [(text, tail) for tail in same for text in range(len(prefix.mask))]
            for batch in self._batches([length] * len(pairs), prefix.mask.shape[1], keep_all):
                own = [pairs[n] for n in batch]
                cache, mask = prefix.rows([text for text, _ in own])
                keep = length if keep_all else 1
                take(self._forward(cache, mask, [tails[tail] for _, tail in own], keep).logits, own)

    def _batches(self, lengths: Sequence[int], n_before: int, keep_all: bool) -> Iterator[list[int]]:
        """Yield positions of rows for one call each: neither logits nor copied keys and values may fill the memory.

        Args:
            lengths: tokens of each row.
            n_before: positions before each row, whose keys and values are copied.
            keep_all: whether there are logits after every token, or after the last one only.
        """
        budget = self._network.budget_tokens
        most_rows = max(1, min(CACHED_FACTOR * budget // n_before, self._positions))
        budget = min(budget, self._positions) if keep_all else budget
        for batch in batches(lengths, budget):
            for start in range(0, len(batch), most_rows):
                yield batch[start : start + most_rows]

    def _forward(self, cache: Any, before: torch.Tensor | None, rows: Sequence[TokenIds], keep: int) -> _Prefix:
        """Return the state after reading `rows`, each after its row of `cache`; logits of the last `keep` positions."""
        import torch

        inputs = self._network.padded(rows, left=True)
        mask = inputs["attention_mask"]
        if before is not None:
            mask = torch.cat([before, mask], dim=1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -inputs["input_ids"].shape[1] :]
        output = self._network.model(
            input_ids=inputs["input_ids"],
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        )
        return _Prefix(output.past_key_values, mask, output.logits)
