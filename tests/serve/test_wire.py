import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classer_core import Classifier, ClassifierStore, Failure, FailureCode, LabelConfidence, Result
from classer_core.errors import RecordError
from classer_core.heads import Head
from classer_core.learned import Learned
from classer_core.saved import SavedClassifiers
from runners.serve.errors import ApiError
from runners.serve.wire import RequestReader, batch_body, parse_body, single_body

LABELS = ["billing", "technical"]
READER = RequestReader(SavedClassifiers("nowhere", {}))


def result(**fields: Any) -> Result:
    whole = {"id": "0", "label": "billing", "labels": None, "confidence": 0.9, "tokens": 5, "visual_tokens": None}
    rest = {"latency_ms": 1.0, "cached": False, "classifier": "c", "model": "m", "coverage": 1.0, "fingerprint": "ab"}
    return Result(**(whole | rest | fields))


def refused(body: dict[str, Any], mode: Any = "single", reader: RequestReader = READER) -> ApiError:
    with pytest.raises(ApiError) as caught:
        reader.record(body, mode)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"3", b'"x"', b"null", b'{"a": NaN}', b'{"a": Infinity}', b'{"text": "\xff"}', b"[" * 100_000],
)
def test_what_is_not_a_json_object_is_400(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_body(body)
    assert (caught.value.status, caught.value.code) == (400, "INVALID_JSON")


def test_json_that_is_nested_too_deep_is_400() -> None:
    with pytest.raises(ApiError, match="nested deeper"):
        parse_body(b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}")


def test_old_and_new_ways_to_write_json_mean_the_same() -> None:
    body = {"text": "schön \U0001f600", "labels": LABELS}
    compact = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    assert parse_body(compact) == parse_body(json.dumps(body).encode()) == body


def test_missing_and_null_are_the_same() -> None:
    absent = dict.fromkeys(("classifier", "descriptions", "examples", "text_type", "image", "file", "cache"))
    given = {"text": "x", "labels": LABELS}
    assert READER.record(given | absent | {"priority": None, "threshold": None}, "multi") == READER.record(
        given, "multi"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", None),
        ("labels", []),
        ("labels", ["a"] * 2),
        ("labels", [str(n) for n in range(201)]),
        ("labels", ["x" * 101]),
        ("labels", "billing"),
        ("labels", [3]),
        ("text", ""),
        ("text", " \n"),
        ("text", None),
        ("text", 3),
        ("text", "\x00"),
        ("text", "\ud800"),
        ("descriptions", {"other": "x"}),
        ("descriptions", ["billing"]),
        ("examples", {"billing": "x"}),
        ("text_type", 3),
        ("priority", "urgent"),
        ("cache", "yes"),
        ("threshold", 1.5),
        ("threshold", "0.5"),
        ("image", 3),
        ("image", ["x"] * 21),
        ("file", ["x"]),
    ],
)
def test_a_field_that_breaks_a_rule_is_422_and_named(field: str, value: Any) -> None:
    error = refused({"text": "x", "labels": LABELS, field: value}, "multi")
    assert (error.status, error.code, error.field) == (422, "VALIDATION_ERROR", field)
    body = error.body()
    assert body["error"] == "validation-error" and body["details"]["field"] == field
    assert isinstance(body["detail"], str) and body["detail"] == body["message"]


def test_the_path_decides_the_mode_and_only_tag_has_a_threshold() -> None:
    body = {"text": "x", "labels": LABELS, "mode": "multi", "threshold": 7}
    assert READER.record(body, "single").classifier == Classifier.of(LABELS)
    assert READER.record(body | {"threshold": 0.3}, "multi").classifier == Classifier.of(
        LABELS, mode="multi", threshold=0.3
    )


def test_names_of_older_clients_are_taken() -> None:
    record = READER.record({"text": "x", "labels": LABELS, "speed": "fast", "source_type": "mail"}, "single")
    assert (record.priority, record.classifier.text_type) == ("fast", "mail")
    assert READER.record({"text": "x", "labels": LABELS, "speed": "whatever"}, "single").priority == "standard"


def test_saved_classifiers(tmp_path: Path) -> None:
    store = ClassifierStore(str(tmp_path))
    store.save("t", Classifier.of(["a", "b"]))
    store.save("t", Classifier.of(["c", "d"], {"c": "says"}))
    reader = RequestReader(store.list())
    newest = reader.record({"text": "x", "classifier": "t", "labels": []}, "single").classifier
    assert (newest.name, newest.labels) == ("t@v2", ("c", "d"))
    assert reader.record({"text": "x", "classifier": "t@v1"}, "single").classifier.labels == ("a", "b")
    multi = reader.record({"text": "x", "classifier": "t", "threshold": 0.2}, "multi").classifier
    assert (multi.mode, multi.threshold, dict(multi.descriptions)) == ("multi", 0.2, {"c": "says"})
    for name in ("u", "t@v3"):
        error = refused({"text": "x", "classifier": name}, reader=reader)
        assert (error.status, error.code) == (404, "CLASSIFIER_NOT_FOUND") and str(tmp_path) not in error.message
    assert refused({"text": "x", "classifier": "../etc"}, reader=reader).status == 422
    assert refused({"text": "x", "classifier": "t", "labels": ["e"]}, reader=reader).field == "classifier"


def test_a_classifier_that_has_learned_tags_with_its_labels(tmp_path: Path) -> None:
    head = Head(np.ones((2, 4)), np.zeros(2))
    learned = Learned.of_head(head, "m", ("a", "b"), 100, 0, "corpus").to_mapping()
    store = ClassifierStore(str(tmp_path))
    store.save("t", Classifier.of(["a", "b"], {"a": "says"}, learned=learned))
    reader = RequestReader(store.list())
    assert reader.record({"text": "x", "classifier": "t"}, "single").classifier.learned is not None
    tagging = reader.record({"text": "x", "classifier": "t", "threshold": 0.3}, "multi").classifier
    assert tagging == Classifier.of(["a", "b"], {"a": "says"}, mode="multi", threshold=0.3)


def test_a_batch_keeps_wrong_texts_in_their_places() -> None:
    items = READER.records({"texts": ["a", "", 3, None, "b"], "labels": LABELS}, "single")
    assert [isinstance(item, RecordError) for item in items] == [False, True, True, True, False]


@pytest.mark.parametrize("texts", [None, [], "abc", ["x"] * 1_001, {"a": 1}])
def test_texts_are_1_to_1000(texts: Any) -> None:
    with pytest.raises(ApiError) as caught:
        READER.records({"texts": texts, "labels": LABELS}, "single")
    assert (caught.value.status, caught.value.field) == (422, "texts")


def test_a_wrong_configuration_fails_the_whole_batch() -> None:
    with pytest.raises(ApiError) as caught:
        READER.records({"texts": ["", "a"], "labels": ["a", "a"]}, "single")
    assert caught.value.field == "labels"


def test_bodies_of_responses() -> None:
    assert single_body(result(), 12.3456) == {
        "label": "billing", "confidence": 0.9, "tokens": 5, "latency_ms": 12.346, "cached": False,
    }  # fmt: skip
    tagged = result(label=None, labels=[LabelConfidence("a", 0.7)], visual_tokens=0, evidence="page 1")
    assert single_body(tagged, 1) == {
        "labels": [{"label": "a", "confidence": 0.7}], "tokens": 5, "visual_tokens": 0, "evidence": "page 1",
        "latency_ms": 1, "cached": False,
    }  # fmt: skip


def test_items_of_a_batch_have_what_the_sdks_read() -> None:
    failure = Failure("1", "classify", FailureCode.TEXT_TOO_LONG, "too long")
    body = batch_body([result(), result(cached=True), failure], "single", 1)
    assert [item["cache"] for item in body["results"]] == [{"hit": False}, {"hit": True}, {"hit": False}]
    assert [item["error"] for item in body["results"]] == [None, None, "too long"]
    assert body["total_tokens"] == 5
    assert batch_body([failure], "multi", 1)["results"][0]["labels"] is None
