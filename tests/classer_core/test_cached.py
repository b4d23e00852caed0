"""An engine behind a cache: each content is read once, by whoever comes first; its answers are the engine's own."""

import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from classer_core import Classifier, Engine, Failure, Record, RecordError, Result, Scores
from classer_core.cache import open_cache
from classer_core.cache.entries import to_entry
from classer_core.cached import CachedEngine, Known
from classer_core.contents import Attachment, Content, Page
from classer_core.documents.expander import Expander
from classer_core.records import Answer
from tests.fakes import POISON, CountingModel

SINGLE = Classifier.of(["billing", "sales"])
MULTI = Classifier.of(["billing", "sales"], mode="multi", threshold=0.0)


@pytest.fixture(autouse=True)
def counted() -> list[str]:
    CountingModel.texts = []
    return CountingModel.texts


def cached(path: Path | None = None) -> CachedEngine:
    return CachedEngine(Engine(CountingModel()), open_cache(f"sqlite:///{path}") if path else None)


def records(*texts: str, **more: Any) -> list[Record]:
    return [Record(str(n), text, SINGLE, **more) for n, text in enumerate(texts)]


def told(outcomes: Sequence[Result | Failure]) -> list[dict[str, Any]]:
    """What does not depend on who answered."""
    own = ("latency_ms", "cached", "attempted_at")
    return [{name: value for name, value in asdict(one).items() if name not in own} for one in outcomes]


def test_identical_records_of_a_batch_are_read_once(counted: list[str]) -> None:
    batch = [*records("billing", "sales", "billing", "billing"), Record("4", "billing", MULTI)]
    outcomes = cached().classify(batch)
    assert sorted(counted) == ["billing", "billing", "sales"]  # one for each classifier
    assert [isinstance(one, Result) and one.cached for one in outcomes] == [False, False, True, True, False]
    assert told(outcomes) == told(Engine(CountingModel()).classify(batch))


def test_identical_records_fail_alike(counted: list[str]) -> None:
    batch = records(POISON, "sales", POISON)
    outcomes = cached().classify(batch)
    assert counted.count(POISON) == 2  # in the batch, and alone
    assert [(one.id, one.stage) for one in outcomes if isinstance(one, Failure)] == [
        ("0", "classify"),
        ("2", "classify"),
    ]
    assert told(outcomes) == told(Engine(CountingModel()).classify(batch))


def test_a_second_run_reads_nothing_and_says_the_same(tmp_path: Path, counted: list[str]) -> None:
    path = tmp_path / "a.sqlite"
    batch = [*records("billing", "sales", "neither"), Record("m", "sales and billing", MULTI), Record("n", "x", MULTI)]
    first = cached(path)
    before = first.classify(batch)
    first.close()
    del counted[:]
    after = cached(path).classify(batch)
    assert counted == []
    assert told(after) == told(before)
    assert all(isinstance(one, Result) and one.cached and one.latency_ms < 1_000 for one in after)
    renamed = Record("0", "billing", Classifier(SINGLE.labels, saved_as="tickets@v3"))
    [one] = cached(path).classify([renamed])
    assert isinstance(one, Result) and (one.classifier, one.cached) == ("tickets@v3", True)


def test_cache_false_reads_again_and_replaces_what_was_kept(tmp_path: Path, counted: list[str]) -> None:
    path = tmp_path / "a.sqlite"
    engine = cached(path)
    [print_] = engine.engine.fingerprints(records("billing"))
    wrong = Answer("sales", None, 0.1, 1, None, "fake", 1.0)
    store = open_cache(f"sqlite:///{path}")
    assert store is not None
    store.put({print_: to_entry(print_, wrong)})
    [kept] = engine.classify(records("billing"))
    assert isinstance(kept, Result) and (kept.label, kept.cached) == ("sales", True)
    fresh = engine.classify(records("billing", "billing", cache=False))
    assert [(one.label, one.cached) for one in fresh if isinstance(one, Result)] == [("billing", False)] * 2
    assert counted == ["billing", "billing"]
    for other in (engine, cached(path)):
        engine.flush()
        [now] = other.classify(records("billing"))
        assert isinstance(now, Result) and (now.label, now.cached) == ("billing", True)


def test_failures_are_not_kept(tmp_path: Path, counted: list[str]) -> None:
    engine = cached(tmp_path / "a.sqlite")
    for _ in range(2):
        [first, second] = engine.classify(records("fine", POISON))
        assert isinstance(first, Result) and isinstance(second, Failure)


def test_damaged_entries_are_classified_anew(tmp_path: Path, counted: list[str]) -> None:
    path = tmp_path / "a.sqlite"
    batch = records("billing", "sales")
    prints = Engine(CountingModel()).fingerprints(batch)
    store = open_cache(f"sqlite:///{path}")
    assert store is not None
    store.put(dict.fromkeys(prints, b"junk"))
    engine = cached(path)
    assert [one.label for one in engine.classify(batch) if isinstance(one, Result)] == ["billing", "sales"]
    assert (sorted(counted), engine.take_errors()) == (["billing", "sales"], 2)
    engine.close()
    assert all(isinstance(one, Result) and one.cached for one in cached(path).classify(batch))


def test_a_cache_that_is_not_there_costs_no_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    engine = cached(tmp_path / "file" / "a.sqlite")
    [one] = engine.classify(records("billing"))
    assert isinstance(one, Result) and one.label == "billing"
    assert engine.take_errors() == 1


def test_threads_that_ask_at_once_share_one_reading(counted: list[str]) -> None:
    class Patient(CountingModel):
        def score(
            self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]
        ) -> list[Scores | RecordError]:
            reading.set()
            assert go_on.wait(30)
            return super().score(texts, classifiers)

    reading, go_on = threading.Event(), threading.Event()
    engine = CachedEngine(Engine(Patient()))
    answers: dict[int, list[Result | Failure]] = {}

    def work(number: int) -> None:
        answers[number] = engine.classify(records("billing", "sales"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    threads[0].start()
    assert reading.wait(30)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert sorted(counted) == ["billing", "sales"]
    assert all(told(answers[number]) == told(answers[0]) for number in range(4))
    assert sum(not one.cached for batch in answers.values() for one in batch if isinstance(one, Result)) == 2


def test_who_waits_for_a_reading_that_breaks_reads_itself() -> None:
    class BreaksOnce(CountingModel):
        broken = False

        def score(
            self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]
        ) -> list[Scores | RecordError]:
            if not reading.is_set():
                reading.set()
                assert go_on.wait(30)
                raise MemoryError
            return super().score(texts, classifiers)

    reading, go_on = threading.Event(), threading.Event()
    engine = CachedEngine(Engine(BreaksOnce()))
    raised: list[BaseException] = []
    answers: list[Result | Failure] = []

    def first() -> None:
        try:
            engine.classify(records("billing"))
        except MemoryError as error:
            raised.append(error)

    threads = [
        threading.Thread(target=first),
        threading.Thread(target=lambda: answers.extend(engine.classify(records("billing")))),
    ]
    threads[0].start()
    assert reading.wait(30)
    threads[1].start()
    while len(engine._pending) != 1:  # the second one finds the first one's claim
        pass
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert len(raised) == 1
    assert [one.label for one in answers if isinstance(one, Result)] == ["billing"]
    assert engine._pending == {}


def test_a_cached_document_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scan(id_: str, url: str) -> Record:
        return Record(id_, "", SINGLE, attachments=(Attachment("file", 1, url, b"%PDF the bytes"),))

    opened: list[int] = []

    def expand(self: Expander, given: Sequence[Record]) -> list[Content]:
        opened.append(len(given))
        return [Content([Page("page 1", "cover"), Page("page 2", "sales sales")], 0.5) for _ in given]

    monkeypatch.setattr(Expander, "expand", expand)
    path = tmp_path / "a.sqlite"
    engine = cached(path)
    before = engine.classify([scan("1", "https://a/1.pdf"), scan("2", "https://b/2.pdf")])
    engine.close()
    after = cached(path).classify([scan("1", "https://a/1.pdf"), scan("2", "https://b/2.pdf")])
    assert opened == [1]
    assert told(after) == told(before)
    assert isinstance(after[0], Result)
    assert (after[0].cached, after[0].coverage, after[0].evidence) == (True, 0.5, "page 1")


def test_answers_of_steps_before_are_taken(counted: list[str]) -> None:
    engine = cached()
    batch = records("billing", "sales", "billing")
    [first, second, _] = engine.engine.fingerprints(batch)
    answer = Answer("sales", None, 0.25, 3, None, "fake", 1.0)
    outcomes = engine.classify(batch, {first: Known(answer, source_id="0")})
    assert [(one.label, one.cached) for one in outcomes if isinstance(one, Result)] == [
        ("sales", False),
        ("sales", False),
        ("sales", True),
    ]
    assert counted == ["sales"] and second != first
