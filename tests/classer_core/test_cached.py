"""An engine behind a cache: each content is read once, by whoever comes first; its answers are the engine's own."""

import sqlite3
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
from classer_core.kept import is_answer_to
from classer_core.records import Answer, LabelConfidence
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


def forged(**fields: Any) -> Answer:
    return Answer(**{**asdict(Answer("sales", None, 0.5, 1, None, "fake", 1.0)), **fields})


def multi(*items: tuple[Any, Any], **fields: Any) -> Answer:
    labels = [LabelConfidence(*item) for item in items]
    return forged(**{"label": None, "labels": labels, "confidence": items[0][1] if items else None, **fields})


IMPOSSIBLE = {
    "another label": forged(label="hacked"),
    "no label": forged(label=None),
    "a label of another type": forged(label=7),
    "a list for a label": forged(label=["sales"]),
    "a confidence above 1": forged(confidence=7.5),
    "a confidence below 0": forged(confidence=-0.1),
    "a confidence as text": forged(confidence="0.5"),
    "a confidence that is true": forged(confidence=True),
    "no confidence": forged(confidence=None),
    "tokens as text": forged(tokens="1"),
    "tokens below 0": forged(tokens=-1),
    "tokens beyond int64": forged(tokens=1 << 63),
    "a fraction of a token": forged(tokens=1.5),
    "visual tokens as text": forged(visual_tokens="many"),
    "a model that is not a name": forged(model=3),
    "a model without a name": forged(model=""),
    "a model with a NUL": forged(model="a\0b"),
    "a coverage above 1": forged(coverage=2.0),
    "a coverage as text": forged(coverage="all"),
    "evidence of a text alone": forged(evidence="page 1"),
    "evidence of another type": forged(evidence=["page 1"]),
    "the labels of mode multi": multi(("sales", 0.5)),
}
IMPOSSIBLE_IN_MULTI = {
    "the label of mode single": forged(),
    "another label among them": multi(("sales", 0.9), ("hacked", 0.8)),
    "a label twice": multi(("sales", 0.9), ("sales", 0.8)),
    "the best label last": multi(("sales", 0.8), ("billing", 0.9)),
    "a confidence above 1 among them": multi(("sales", 1.5)),
    "a confidence of another type": multi(("sales", "0.5")),
    "a label below the threshold": multi(("sales", 0.9), ("billing", 0.1)),
    "another confidence than the best label's": multi(("sales", 0.9), confidence=0.8),
    "a confidence without a label": multi(confidence=0.8),
    "labels and a label": multi(("sales", 0.9), label="sales"),
}


@pytest.mark.parametrize("mode", ["single", "multi"])
def test_forged_entries_are_counted_and_overwritten_and_never_answers(
    tmp_path: Path, counted: list[str], mode: str
) -> None:
    """The checksums are right: who can write to a Redis server can compute them."""
    path = tmp_path / "a.sqlite"
    classifier = Classifier.of(["billing", "sales"], mode=mode)
    wrong = IMPOSSIBLE if mode == "single" else IMPOSSIBLE_IN_MULTI
    batch = [Record(name, f"billing {name}", classifier) for name in wrong]
    engine = cached(path)
    store = open_cache(f"sqlite:///{path}")
    assert store is not None
    prints = dict(zip(wrong, engine.fingerprints(batch), strict=True))
    store.put({print_: to_entry(print_, wrong[name]) for name, print_ in prints.items()})
    outcomes = engine.classify(batch)
    assert told(outcomes) == told(Engine(CountingModel()).classify(batch))
    assert [one.id for one in outcomes if not isinstance(one, Result) or one.cached] == []
    assert engine.take_errors() == len(batch)
    engine.close()
    again = cached(path)
    assert all(isinstance(one, Result) and one.cached for one in again.classify(batch))
    assert again.take_errors() == 0


def test_values_that_are_not_entries_are_misses(tmp_path: Path, counted: list[str]) -> None:
    """As another program can leave them in the file: text, numbers, nothing, an entry of 2 MB, one of tomorrow week."""
    path = tmp_path / "a.sqlite"
    odd = ["text", 7, 0.5, b"", bytes(2 << 20)]
    batch = records(*(f"billing {number}" for number in range(len(odd) + 1)))
    engine = cached(path)
    prints = engine.fingerprints(batch)
    store = open_cache(f"sqlite:///{path}")
    assert store is not None
    store.put({prints[-1]: to_entry(prints[-1], forged())})
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE answers SET stored_at = stored_at + 999999999")
        connection.executemany(
            "INSERT INTO answers (key, stored_at, answer) VALUES (?, unixepoch(), ?)",
            list(zip(prints, odd, strict=False)),
        )
    connection.close()
    outcomes = engine.classify(batch)
    assert [one.label for one in outcomes if isinstance(one, Result) and not one.cached] == ["billing"] * len(batch)
    assert engine.take_errors() == len(odd)


def test_what_memory_holds_is_checked_like_what_a_cache_holds(counted: list[str]) -> None:
    engine = cached()
    [print_] = engine.fingerprints(records("billing"))
    engine._memory.put({print_: to_entry(print_, forged(label="hacked"))})
    [one] = engine.classify(records("billing"))
    assert isinstance(one, Result) and (one.label, one.cached) == ("billing", False)


def test_evidence_names_a_page_or_a_picture() -> None:
    scan = Record("1", "", SINGLE, attachments=(Attachment("file", 1, "a.pdf", b"%PDF"),))
    assert [is_answer_to(forged(evidence=each), scan) for each in ("page 3", "image 20", "text", "file", None)] == [
        True
    ] * 5
    assert not any(is_answer_to(forged(evidence=each), scan) for each in ("page 0", "<script>", "page 3\n", 7, ""))
