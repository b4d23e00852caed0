"""Abstaining is the last thing that happens to an answer, and depends on nothing but that answer."""

from typing import Any

import pytest

from classer_core import Failure, FailureCode, LabelConfidence, RecordError, Result, classify_batch
from classer_core.abstaining import Abstention


def answer(label: str | None, confidence: float | None, labels: list[LabelConfidence] | None = None) -> Result:
    return Result("1", label, labels, confidence, 3, None, 0.5, False, "inline:0", "fake", 1.0, "00")


def test_an_answer_below_the_minimum_is_none() -> None:
    judged = Abstention.of(0.7).apply(answer("spam", 0.6999))
    assert (judged.label, judged.abstained, judged.confidence) == (None, True, 0.6999)


def test_an_answer_at_the_minimum_stays() -> None:
    sure = answer("spam", 0.7)
    assert Abstention.of(0.7).apply(sure) is sure
    assert Abstention.of(None).apply(answer("spam", 0.0)).label == "spam"


def test_a_fallback_stands_for_the_label() -> None:
    judged = Abstention.of(0.7, "other").apply(answer("spam", 0.2))
    assert (judged.label, judged.abstained) == ("other", True)


def test_multi_goes_by_the_best_label_and_keeps_none_of_them() -> None:
    best, second = LabelConfidence("hate", 0.9), LabelConfidence("violence", 0.6)
    sure = answer(None, 0.9, [best, second])
    assert Abstention.of(0.8).apply(sure).labels == [best, second]
    unsure = Abstention.of(0.95, "other").apply(sure)
    assert (unsure.label, unsure.labels, unsure.confidence, unsure.abstained) == (None, [], 0.9, True)
    none_of_them = answer(None, None, [])
    assert Abstention.of(0.95).apply(none_of_them) is none_of_them


def test_failures_pass_and_answers_keep_their_order() -> None:
    failure = Failure("2", "read", FailureCode.TEXT_EMPTY, "text is empty")
    judged = Abstention.of(0.5).apply_all([answer("a", 0.9), failure, answer("b", 0.1)])
    assert [getattr(outcome, "label", outcome) for outcome in judged] == ["a", failure, None]


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ((1.5, None), "min_confidence", "a number from 0 to 1, got 1.5"),
        ((True, None), "min_confidence", "got True"),
        ((float("nan"), None), "min_confidence", "got nan"),
        ((0.5, " "), "fallback_label", "1-100 characters, got ' '"),
        ((0.5, "x" * 101), "fallback_label", "1-100 characters"),
        ((None, "other"), "fallback_label", "'other' has no effect without min_confidence"),
    ],
)
def test_a_wrong_rule_names_its_field(given: tuple[Any, Any], field: str, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        Abstention.of(*given)
    assert caught.value.field == field and message in caught.value.message


def test_classify_abstains() -> None:
    response = classify_batch(["fried onions", ""], ["x", "y"], min_confidence=1.0, fallback_label="unsure")
    [result, failure] = response.results
    assert isinstance(result, Result) and (result.label, result.abstained) == ("unsure", True)
    assert isinstance(failure, Failure) and failure.code == "text_empty"
