"""Rows that are worth a review, and a file that holds each answer at once."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from classer_core.review import Candidate, Chooser, ReviewQueue

LABELS = ["a", "b"]


def rows(count: int = 2_000) -> list[Candidate]:
    draw = random.Random(3)
    labels = [draw.choices(["a", "b", "c"], [0.8, 0.18, 0.02])[0] for _ in range(count)]
    return [Candidate(str(n), f"text {n}", (label,), round(draw.random(), 4)) for n, label in enumerate(labels)]


def chosen(size: int, given: list[Candidate]) -> list[Candidate]:
    chooser = Chooser(size)
    for row in given:
        chooser.add(row)
    return chooser.rows()


def queue(folder: Path, count: int = 5, several: bool = False) -> ReviewQueue:
    given = [Candidate(str(n), f"text {n}", ("a",), 0.5) for n in range(count)]
    return ReviewQueue(given, LABELS, folder / "gold.ndjson", ("n", "body"), several)


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "gold.ndjson").read_text().splitlines()]


def test_rows_of_every_kind_and_label_are_chosen() -> None:
    found = chosen(100, rows())
    assert len({row.id for row in found}) == 100 and found == chosen(100, rows())
    kinds = {why: [row for row in found if row.why == why] for why in ("random", "sure", "unsure")}
    assert (len(kinds["random"]), len(kinds["sure"]), len(kinds["unsure"])) == (25, 15, 60)
    assert all((row.confidence or 0) >= 0.8 for row in kinds["sure"])
    # Of a label that one of fifty rows has, as many unsure ones as of the others.
    assert sum(row.labels == ("c",) for row in kinds["unsure"]) >= 15
    assert max(row.confidence or 0 for row in kinds["unsure"] if row.labels == ("a",)) < 0.1
    assert {row.why for row in found[:20]} == {"random", "sure", "unsure"}


def test_the_random_part_is_uniform() -> None:
    drawn = [int(row.id) for row in chosen(400, rows()) if row.why == "random"]
    assert 850 < sum(drawn) / len(drawn) < 1_150


def test_few_rows_are_all_chosen() -> None:
    assert {row.id for row in chosen(100, rows(7))} == {str(n) for n in range(7)}
    assert chosen(10, [Candidate("1", "no answer", (), None)])[0].id == "1"


def test_each_answer_is_in_the_file_at_once_and_can_be_taken_back(tmp_path: Path) -> None:
    asked = queue(tmp_path)
    asked.answer("0", ["a"], "sure")
    assert written(tmp_path) == [
        {"n": "0", "body": "text 0", "label": "a", "note": "sure", "answer": "a", "confidence": 0.5, "why": "random"}
    ]
    asked.answer("1", [])
    assert written(tmp_path)[1]["label"] is None
    asked.undo()
    assert len(written(tmp_path)) == 1 and asked.state()["row"]["id"] == "1"
    asked.skip("1")
    assert asked.state()["row"]["id"] == "2" and asked.state()["left"] == 4
    again = queue(tmp_path)
    assert again.state()["done"] == 1 and again.state()["row"]["id"] == "1"
    again.undo()
    assert again.state()["done"] == 1, "answers of another session stay"


def test_the_accuracy_is_that_of_the_random_rows(tmp_path: Path) -> None:
    asked = queue(tmp_path, 40)
    assert asked.state()["accuracy"] is None
    for n in range(40):
        asked.answer(str(n), ["a"] if n % 4 else ["b"])
    found = asked.state()["accuracy"]
    assert (found["value"], found["rows"]) == (0.75, 40)
    assert 0.58 < found["low"] < 0.61 and 0.85 < found["high"] < 0.87, "Wilson's interval"
    assert asked.state()["row"] is None


def test_several_labels_are_a_list(tmp_path: Path) -> None:
    asked = queue(tmp_path, several=True)
    asked.answer("0", ["b", "a", "b"])
    asked.answer("1", [])
    assert [row["label"] for row in written(tmp_path)] == [["b", "a"], []]


@pytest.mark.parametrize(("id", "labels"), [("9", ["a"]), ("0", ["c"]), ("0", ["a", "b"])])
def test_what_is_no_answer_is_refused(tmp_path: Path, id: str, labels: list[str]) -> None:
    with pytest.raises(ValueError, match="not an answer to a row of this review"):
        queue(tmp_path).answer(id, labels)
    assert not (tmp_path / "gold.ndjson").exists()


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "gold.ndjson").write_text("not mine\n")
    with pytest.raises(ValueError, match="does not hold the rows of a review"):
        queue(tmp_path)
    assert (tmp_path / "gold.ndjson").read_text() == "not mine\n"
