import random

from classer_core.batching import batches, padded_length


def test_every_window_is_in_one_batch_of_its_own_padded_length() -> None:
    lengths = [random.Random(3).randrange(3, 257) for _ in range(500)]
    made = list(batches(lengths, 2_048))
    assert sorted(position for batch in made for position in batch) == list(range(500))
    for batch in made:
        assert len({padded_length(lengths[position]) for position in batch}) == 1
        assert len(batch) * padded_length(lengths[batch[0]]) <= 2_048


def test_a_window_above_the_budget_goes_alone() -> None:
    assert list(batches([8_000, 8_000, 3], 2_048)) == [[0], [1], [2]]


def test_padding_is_small() -> None:
    assert [padded_length(length) for length in (1, 4, 5, 256)] == [4, 4, 8, 256]
