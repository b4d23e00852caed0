import pytest

import classer_core as classer


def test_classify_answers_with_the_six_fields_of_the_api() -> None:
    """An example of the API's own documentation."""
    result = classer.classify(
        text="We need pricing for 500 users",
        labels=["hot", "warm", "cold"],
        descriptions={
            "hot": "Ready to buy, asking for pricing or demo",
            "warm": "Interested but still exploring",
            "cold": "Just browsing, no clear intent",
        },
    )
    assert result.label == "hot"
    assert 0.5 < (result.confidence or 0) <= 1
    assert result.tokens == 9
    assert (result.visual_tokens, result.cached) == (None, False)
    assert result.latency_ms > 0


def test_classify_batch_keeps_order_and_reports_each_failure() -> None:
    response = classer.classify_batch(texts=["a football match", " ", "a bowl of soup"], labels=["sports", "food"])
    first, empty, last = response.results
    assert isinstance(first, classer.Result) and isinstance(last, classer.Result)
    assert (first.label, last.label) == ("sports", "food")
    assert isinstance(empty, classer.Failure) and empty.code == classer.FailureCode.TEXT_EMPTY
    assert response.total_tokens == first.tokens + last.tokens
    assert response.latency_ms > 0


def test_a_text_is_read_once_unless_it_shall_be_read_again() -> None:
    texts, labels = ["a chess game", "a chess game", "a slice of bread"], ["sports", "food"]
    response = classer.classify_batch(texts=texts, labels=labels)
    results = [one for one in response.results if isinstance(one, classer.Result)]
    assert [one.cached for one in results] == [False, True, False]
    assert response.total_tokens == results[0].tokens + results[2].tokens
    again = classer.classify(text=texts[0], labels=["food", "sports"])
    fresh = classer.classify(text=texts[0], labels=labels, cache=False)
    assert (again.cached, fresh.cached) == (True, False)
    assert (again.label, again.confidence, again.fingerprint) == (fresh.label, fresh.confidence, fresh.fingerprint)


def test_wrong_requests_raise() -> None:
    with pytest.raises(classer.RecordError, match="Labels must be unique"):
        classer.classify(text="x", labels=["a", "a"])
    with pytest.raises(classer.RecordError, match="text is empty"):
        classer.classify(text="", labels=["a", "b"])
