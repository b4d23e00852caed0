from collections.abc import Sequence

import pytest

from classer_core import Classifier, Engine, Failure, FailureCode, Record, RecordError, Result, Scores
from tests.fakes import POISON, FakeModel

CLASSIFIER = Classifier.of(["billing", "sales"])


def record(id_: int, text: str) -> Record:
    return Record(str(id_), text, CLASSIFIER)


def test_only_the_record_that_breaks_the_model_fails() -> None:
    texts = ["billing", "sales", POISON, "sales", "billing", POISON, "sales"]
    outcomes = Engine(FakeModel()).classify([record(n, text) for n, text in enumerate(texts)])
    assert [outcome.id for outcome in outcomes] == list("0123456")
    labels = [outcome.label if isinstance(outcome, Result) else outcome.code for outcome in outcomes]
    expected = [FailureCode.MODEL_FAILED if text == POISON else text for text in texts]
    assert labels == expected
    [failure, _] = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert failure.stage == "classify"
    assert "RuntimeError: the model choked" in failure.message


def test_a_model_that_fails_on_everything_stops_the_job() -> None:
    class Broken:
        id = "broken"

        def score(
            self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]
        ) -> list[Scores | RecordError]:
            raise RuntimeError("no more GPU")

    with pytest.raises(RuntimeError, match="no more GPU"):
        Engine(Broken()).classify([record(0, "billing"), record(1, "sales")])


def test_running_out_of_memory_is_the_runners_matter() -> None:
    class Hungry:
        id = "hungry"

        def score(
            self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]
        ) -> list[Scores | RecordError]:
            raise MemoryError

    with pytest.raises(MemoryError):
        Engine(Hungry()).classify([record(0, "billing")])


def test_poison_alone_fails_alone() -> None:
    [outcome] = Engine(FakeModel()).classify([record(0, POISON)])
    assert isinstance(outcome, Failure)


def test_nothing_in_nothing_out() -> None:
    assert Engine(FakeModel()).classify([]) == []


def test_latency_is_shared_by_tokens() -> None:
    short, long = Engine(FakeModel()).classify([record(0, "billing"), record(1, "sales " * 99)])
    assert isinstance(short, Result) and isinstance(long, Result)
    assert (short.tokens, long.tokens) == (1, 99)
    assert long.latency_ms >= short.latency_ms
