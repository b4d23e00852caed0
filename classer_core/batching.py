"""Batches of texts of similar length, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], budget_tokens: int) -> Iterator[list[int]]:
    """Yield the positions of the texts of each batch, longest texts first: memory use is highest at the start.

    Args:
        lengths: tokens of each text.
        budget_tokens: most tokens of a batch, padding included. A longer text is a batch of its own.

    >>> list(batches([3, 9, 4, 2], budget_tokens=10))
    [[1], [2, 0], [3]]
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda position: -lengths[position]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget_tokens:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
