import pickle

import pytest

from classer_core import Classifier, FailureCode, RecordError


def test_name_depends_on_meaning_and_not_on_order() -> None:
    a = Classifier.of(["x", "y"], descriptions={"x": "1", "y": "2"}, examples={"x": ["a", "b"]})
    b = Classifier.of(["y", "x"], descriptions={"y": "2", "x": "1"}, examples={"x": ["b", "a"]})
    assert a.name == b.name
    assert a.name.startswith("inline:")


@pytest.mark.parametrize(
    "more",
    [
        {"descriptions": {"x": "1"}},
        {"examples": {"x": ["a"]}},
        {"text_type": "review"},
        {"mode": "multi"},
        {"threshold": 0.4},
        {"labels": ["x", "y", "z"]},
    ],
)
def test_name_depends_on_every_field(more: dict[str, object]) -> None:
    fields: dict[str, object] = {"labels": ["x", "y"]}
    assert Classifier.of(**{**fields, **more}).name != Classifier.of(["x", "y"]).name  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [["x"], ["x" * 100], [str(n) for n in range(200)], ["日本", "🙂"], ("x", "y")])
def test_labels_that_are_allowed(labels: list[str]) -> None:
    assert Classifier.of(labels).labels == tuple(sorted(labels))


def test_duplicate_labels_are_called_so() -> None:
    with pytest.raises(RecordError, match="Labels must be unique: 'a' is given twice") as caught:
        Classifier.of(["a", "b", "a"])
    assert (caught.value.code, caught.value.field) == (FailureCode.LABELS_INVALID, "labels")


@pytest.mark.parametrize("field", ["descriptions", "examples"])
def test_keys_must_be_labels(field: str) -> None:
    with pytest.raises(RecordError, match="'refunds', which is not one of the labels") as caught:
        Classifier.of(["billing"], **{field: {"refunds": "x" if field == "descriptions" else ["x"]}})  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize("examples", [{"a": "text"}, {"a": [""]}, {"a": [1]}, {"a": ["\x00"]}, ["a"]])
def test_wrong_examples(examples: object) -> None:
    with pytest.raises(RecordError) as caught:
        Classifier.of(["a"], examples=examples)  # type: ignore[arg-type]
    assert caught.value.code == FailureCode.EXAMPLES_INVALID


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), True, "0.5"])
def test_wrong_thresholds(threshold: object) -> None:
    with pytest.raises(RecordError, match="threshold must be a number from 0 to 1"):
        Classifier.of(["a"], threshold=threshold)  # type: ignore[arg-type]


def test_messages_show_hostile_values_safely() -> None:
    with pytest.raises(RecordError) as caught:
        Classifier.of(["\ud800" * 5_000])
    caught.value.message.encode()
    assert len(caught.value.message) < 300


def test_errors_survive_pickling() -> None:
    error = RecordError(FailureCode.TEXT_EMPTY, "empty", "text")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.code, copy.message, copy.field) == (error.code, error.message, error.field)
