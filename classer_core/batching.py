"""Which texts go through a model together: those of about one length, so that hardly anything is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], budget_tokens: int) -> Iterator[list[int]]:
    """Yield the positions of texts, batch by batch: at most `budget_tokens` with padding, or one text.

    Longest first, so that memory peaks at once or never.
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda position: -lengths[position]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget_tokens:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
