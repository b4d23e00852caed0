from typing import Any

import pytest

from classer_core import FailureCode, Record, RecordError
from classer_core.requests import RequestParser


def parse(row: dict[str, Any], textual: bool = False, **defaults: Any) -> Record:
    defaults = {"labels": ["a", "b"], **defaults}
    outcome = RequestParser(defaults, textual).parse({name: [value] for name, value in row.items()}, ["file#1"])[0]
    if isinstance(outcome, RecordError):
        raise outcome
    return outcome


def test_defaults_hold_where_a_row_says_nothing() -> None:
    record = parse({"text": "hello", "mode": None}, mode="multi", threshold=0.2, priority="fast", cache=False)
    assert (record.classifier.mode, record.classifier.threshold) == ("multi", 0.2)
    assert (record.id, record.priority, record.cache) == ("file#1", "fast", False)


def test_a_rows_own_fields_win() -> None:
    row = {"id": 7, "text": "hello", "mode": "single", "labels": ["c"], "priority": "standard", "cache": True}
    record = parse(row, mode="multi", priority="fast", cache=False, descriptions={"a": "first"})
    assert (record.id, record.classifier.labels, record.classifier.mode) == ("7", ("c",), "single")
    assert record.classifier.descriptions == ()  # the job's description is of a label that this row does not have
    assert (record.priority, record.cache) == ("standard", True)


def test_equal_fields_share_one_classifier() -> None:
    parser = RequestParser({})
    rows = {"text": ["x", "y"], "labels": [["a", "b"], ["a", "b"]], "descriptions": [{"a": "1"}, {"a": "1", "b": None}]}
    first, second = parser.parse(rows, ["1", "2"])
    assert isinstance(first, Record) and isinstance(second, Record)
    assert first.classifier is second.classifier


def test_cells_of_csv_are_read_as_their_fields_want() -> None:
    row = {"text": "hello", "labels": '["x", "y"]', "descriptions": '{"x": "first"}', "threshold": "0.25"}
    record = parse({**row, "cache": "False", "priority": "fast"}, textual=True)
    assert record.classifier.labels == ("x", "y")
    assert record.classifier.descriptions == (("x", "first"),)
    assert (record.classifier.threshold, record.cache, record.priority) == (0.25, False, "fast")


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"text": "x", "labels": "x,y"}, FailureCode.LABELS_INVALID),
        ({"text": "x", "threshold": "half"}, FailureCode.THRESHOLD_INVALID),
        ({"text": "x", "cache": "perhaps"}, FailureCode.CACHE_INVALID),
    ],
)
def test_cells_of_csv_that_are_wrong(row: dict[str, Any], code: FailureCode) -> None:
    with pytest.raises(RecordError) as caught:
        parse(row, textual=True)
    assert caught.value.code == code


def test_a_map_of_arrow_is_a_mapping() -> None:
    record = parse({"text": "x", "descriptions": [("a", "first"), ("b", "second")]})
    assert dict(record.classifier.descriptions) == {"a": "first", "b": "second"}


@pytest.mark.parametrize("id_", ["", "a\x00b", True, ["1"]])
def test_wrong_ids(id_: object) -> None:
    with pytest.raises(RecordError) as caught:
        parse({"id": id_, "text": "x"})
    assert caught.value.code == FailureCode.ID_INVALID


def test_wrong_defaults_are_an_error_at_once() -> None:
    with pytest.raises(RecordError, match="priority must be standard or fast, got 'urgent'"):
        RequestParser({"labels": ["a"], "priority": "urgent"})
