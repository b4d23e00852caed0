"""Texts of about one length go through the model together."""

from classer_core.batching import batches


def test_every_text_is_in_one_batch_and_no_batch_is_too_large() -> None:
    lengths = [(7 * number) % 97 + 1 for number in range(500)] + [3_000]
    found = list(batches(lengths, 2_048))
    assert sorted(position for batch in found for position in batch) == list(range(501))
    assert found[0] == [500]  # larger than the budget: alone
    for batch in found[1:]:
        assert len(batch) * max(lengths[position] for position in batch) <= 2_048


def test_little_is_padding() -> None:
    lengths = [(7 * number) % 97 + 1 for number in range(500)]
    padded = sum(len(batch) * lengths[batch[0]] for batch in batches(lengths, 512))
    assert padded < 1.1 * sum(lengths)


def test_nothing_makes_no_batch() -> None:
    assert list(batches([], 100)) == []
