import base64
import os
from pathlib import Path

import pytest

import classer_core as classer
from tests import documents as make


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


def test_tag_gives_every_label() -> None:
    result = classer.tag("a football match and a bowl of soup", ["sports", "food", "law"], threshold=0.0)
    assert result.label is None and {item.label for item in result.labels or ()} == {"sports", "food", "law"}
    batch = classer.tag_batch(["a football match", " "], ["sports", "food"], threshold=0.0)
    tagged, empty = batch.results
    assert isinstance(tagged, classer.Result) and tagged.labels and tagged.labels[0].label == "sports"
    assert isinstance(empty, classer.Failure)


def test_documents_are_bytes_paths_and_base64(tmp_path: Path) -> None:
    data = make.pdf("The recipe needs two onions, butter and a pot of soup")
    (tmp_path / "a.pdf").write_bytes(data)
    labels = ["food", "sports"]
    answers = [
        classer.classify(file=source, labels=labels)
        for source in (data, tmp_path / "a.pdf", base64.b64encode(data).decode())
    ]
    assert [answer.label for answer in answers] == ["food"] * 3
    assert {answer.fingerprint for answer in answers} == {answers[0].fingerprint}
    assert answers[0].evidence == "page 1"
    both = classer.classify_batch(["a goal in the last minute", ""], labels, file=data, priority="fast")
    assert len(both.results) == 2 and all(isinstance(one, classer.Result) for one in both.results)


@pytest.mark.parametrize("source", ["/etc/passwd", "file:///etc/passwd", "a.pdf", "gs://bucket/a.pdf"])
def test_a_string_is_never_a_path(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pdf").write_bytes(make.pdf("secret"))
    with pytest.raises(classer.RecordError, match="must be an https:// URL or base64") as caught:
        classer.classify(file=source, labels=["a", "b"])
    assert caught.value.code == classer.FailureCode.FILE_INVALID


def test_files_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    with pytest.raises(classer.RecordError, match=r"no\.pdf can't be read: No such file"):
        classer.classify(file=tmp_path / "no.pdf", labels=["a", "b"])
    with pytest.raises(classer.RecordError) as caught:
        classer.classify(file=os.urandom(200), labels=["a", "b"])
    assert caught.value.field == "file"
    with pytest.raises(classer.RecordError, match="http:// is not allowed"):
        classer.classify(image="http://127.0.0.1/x.png", labels=["a", "b"])


def test_saved_classifiers_have_names(tmp_path: Path) -> None:
    store = classer.ClassifierStore(str(tmp_path))
    store.save("tickets", classer.Classifier.of(["food", "sports"], mode="multi", threshold=0.9))
    store.save("tickets", classer.Classifier.of(["law", "sports"]))
    where = {"classifiers": str(tmp_path)}
    assert classer.classify("a football match", classifier="tickets", **where).classifier == "tickets@v2"
    tagged = classer.tag("a football match", classifier="tickets@v1", threshold=0.0, **where)
    assert {item.label for item in tagged.labels or ()} == {"food", "sports"}
    assert classer.classify("a football match", classifier="tickets@v1", mode="single", **where).label == "sports"
    with pytest.raises(classer.RecordError, match="none"):
        classer.classify("x", classifier="none", **where)
    with pytest.raises(classer.RecordError, match="both given"):
        classer.classify("x", ["a"], classifier="tickets", **where)
    with pytest.raises(classer.RecordError, match="threshold"):
        classer.tag("x", classifier="tickets", threshold=2, **where)


def test_arguments_that_do_not_exist_are_named() -> None:
    with pytest.raises(TypeError, match="there is no argument 'label'; there are image, file"):
        classer.classify("x", label=["a"])  # type: ignore[call-arg]
    with pytest.raises(classer.RecordError, match="priority must be standard or fast"):
        classer.classify("x", ["a", "b"], priority="slow")
