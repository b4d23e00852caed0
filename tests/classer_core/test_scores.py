"""`scores`: the best labels with their confidences, also where answers come from a cache."""

from pathlib import Path
from typing import Any

import pytest

from classer_core import Classifier, Engine, Record, RecordError, Result, classify
from classer_core.cache import open_cache
from classer_core.cached import CachedEngine
from classer_core.kept import is_answer_to
from classer_core.records import Answer, LabelConfidence
from tests.fakes import CountingModel, FakeModel

LABELS = ["billing", "sales", "technical"]
SINGLE, MULTI = Classifier.of(LABELS), Classifier.of(LABELS, mode="multi")


def ask(engine: Engine | CachedEngine, classifier: Classifier, scores: int) -> Result:
    [result] = engine.classify([Record("1", "billing billing sales", classifier, scores=scores)])
    assert isinstance(result, Result)
    return result


def pairs(result: Result) -> list[tuple[str, float]]:
    return [(item.label, item.confidence) for item in result.scores or []]


def test_scores_begin_with_the_answer() -> None:
    engine = Engine(FakeModel())
    single, multi = ask(engine, SINGLE, 3), ask(engine, MULTI, 2)
    assert [label for label, _ in pairs(single)] == ["billing", "sales", "technical"]
    assert pairs(single)[0] == (single.label, single.confidence)
    assert sum(confidence for _, confidence in pairs(single)) == pytest.approx(1, abs=2e-4)
    assert single.scores != [] and len(pairs(ask(engine, SINGLE, 200))) == 3
    assert multi.labels == multi.scores
    assert ask(engine, SINGLE, 0).scores is None
    # In mode multi labels below the threshold have scores, too.
    assert pairs(ask(engine, MULTI, 3))[2][1] < MULTI.threshold


def test_one_label_has_its_own_probability() -> None:
    result = ask(Engine(FakeModel()), Classifier.of(["nothing of it"]), 3)
    assert pairs(result) == [("nothing of it", result.confidence)] and pairs(result)[0][1] < 0.5


@pytest.mark.parametrize("classifier", [SINGLE, MULTI])
def test_a_cached_answer_has_as_many_scores_as_are_asked_for(tmp_path: Path, classifier: Classifier) -> None:
    def fresh() -> CachedEngine:
        return CachedEngine(Engine(CountingModel()), open_cache(f"sqlite:///{tmp_path}/a.sqlite"))

    for engine in (fresh(), fresh()):
        for scores in (0, 2, 3):
            again = ask(engine, classifier, scores)
            assert len(pairs(again)) == scores
        assert not engine.take_errors()
        engine.close()
    del CountingModel.texts[:]
    last = fresh()
    assert pairs(ask(last, classifier, 2)) == pairs(ask(Engine(FakeModel()), classifier, 2))
    # Three labels have no more than three scores: it is the same question.
    assert ask(last, classifier, 200).cached and CountingModel.texts == []
    last.close()


def test_scores_that_are_no_answer_are_not_taken_for_one() -> None:
    record = Record("1", "x", SINGLE, scores=2)

    def judged(scores: Any) -> bool:
        return is_answer_to(Answer("sales", None, 0.5, 1, None, "fake", 1.0, None, scores), record)

    good = [LabelConfidence("sales", 0.5), LabelConfidence("billing", 0.3)]
    assert judged(good)
    wrong = [None, [], good[:1], good[::-1], [good[0], good[0]], [good[0], LabelConfidence("hacked", 0.1)], "sales", 7]
    wrong += [[good[0], LabelConfidence("billing", "much")], [good[0], "billing"]]  # type: ignore[arg-type, list-item]
    assert not any(map(judged, wrong))


def test_the_library_lists_them() -> None:
    result = classify("I was charged twice for my invoice", LABELS, scores=2)
    assert pairs(result)[0] == (result.label, result.confidence) and len(pairs(result)) == 2
    for wrong in (0, 201, "three", True):
        with pytest.raises(RecordError, match="scores must be a number from 1 to 200, or all"):
            classify("text", LABELS, scores=wrong)
