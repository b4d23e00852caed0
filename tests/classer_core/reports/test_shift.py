"""Texts that have moved are told from texts that only chance has drawn."""

import random
from typing import Any

import pytest

from classer_core.reports.shift import TextSample, text_shift


def listed(words: str) -> list[str]:
    return words.split()


WORDS = listed("invoice refund charge payment login password reset error price quote seat upgrade trial account card")
OTHER = listed("tomato onion garlic pepper oven simmer butter flour yeast dough basil thyme roast grill pan")
CYRILLIC = listed("счёт оплата возврат ошибка вход пароль цена место карта обновление")


def texts(seed: int, count: int = 600, words: list[str] = WORDS) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(words, k=draw.randrange(4, 15))) for _ in range(count)]


def test_undisturbed_texts_do_not_shift() -> None:
    before = texts(0)
    for seed in range(1, 21):
        found = text_shift(texts(seed), before)
        assert found is not None and not found.is_change, found
    same = text_shift(before, before)
    assert same is not None and not same.is_change


@pytest.mark.parametrize(
    "other",
    [
        texts(9, 90, OTHER),
        texts(9, 90, CYRILLIC),
        [text.encode().decode("utf-16-le", "replace") for text in texts(9, 90)],
    ],
    ids=["topic", "language", "encoding"],
)
def test_one_text_of_seven_is_enough(other: list[str]) -> None:
    mixed: Any = texts(1, 510) + other
    random.Random(3).shuffle(mixed)
    found = text_shift(mixed, texts(0))
    assert found is not None and found.is_change, found
    assert 0.08 < found.unlike < 0.2, "the share that is new"


def test_few_texts_say_nothing() -> None:
    assert text_shift(texts(1, 20), texts(0)) is None
    assert text_shift([""] * 100, texts(0)) is None, "one text, however often"


def test_a_sample_is_uniform_and_the_same_each_time() -> None:
    samples = [TextSample(100), TextSample(100)]
    for sample in samples:
        for start in range(0, 10_000, 100):
            sample.add([None, "", *(str(n) for n in range(start, start + 100))])
    assert samples[0].texts == samples[1].texts and len(set(samples[0].texts)) == 100
    assert 4_000 < sum(map(int, samples[0].texts)) / 100 < 6_000
