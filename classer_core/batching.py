"""Which windows go through the model together: no padding to speak of, and nobody's answer depends on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# A window is padded to the next multiple of a step that its own length decides, whatever its batch-mates: bfloat16 sums
# differ with the padded length, so equal texts get bit-equal vectors only at equal padded lengths. Steps grow with the
# length, so that the few long windows of a batch find company: 9% of padding on news snippets, filling included.
LENGTH_STEPS = ((64, 4), (128, 8))
LONGEST_STEP = 16
# A batch of fewer tokens is filled up with empty rows: matrix kernels for small shapes add up in another order, and the
# answer would depend on how much company a text has. From this many on, all shapes gave equal bits (190 shapes tried
# in bfloat16 on AMX, with one and two threads; 384 tokens: 11 of 190 differed).
MIN_BATCH_TOKENS = 512


def padded_length(length: int) -> int:
    """The length a window of `length` tokens is padded to; a function of the window alone."""
    step = next((step for longest, step in LENGTH_STEPS if length <= longest), LONGEST_STEP)
    return -(-length // step) * step


def padded_rows(rows: int, length: int) -> int:
    """How many rows a batch of windows padded to `length` is filled up to."""
    return max(rows, -(-MIN_BATCH_TOKENS // length))


def batches(lengths: Sequence[int], budget_tokens: int) -> Iterator[list[int]]:
    """Positions of windows in, batches of positions out: equal padded length, at most `budget_tokens` (or one window).

    Longest first, so that memory peaks at once or never.
    """
    by_length: dict[int, list[int]] = {}
    for position, length in enumerate(lengths):
        by_length.setdefault(padded_length(length), []).append(position)
    for length in sorted(by_length, reverse=True):
        positions = by_length[length]
        size = max(1, budget_tokens // length)
        for start in range(0, len(positions), size):
            yield positions[start : start + size]
