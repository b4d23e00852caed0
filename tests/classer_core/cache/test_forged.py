"""Entries that damage or an enemy has put into a cache: misses, counted and overwritten, never answers."""

import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from classer_core import Classifier, Engine, Record, Result
from classer_core.cache import open_cache
from classer_core.cache.entries import to_entry
from classer_core.contents import Attachment
from classer_core.kept import is_answer_to
from classer_core.records import Answer, LabelConfidence
from tests.classer_core.test_cached import SINGLE, cached, records, told
from tests.fakes import CountingModel


@pytest.fixture(autouse=True)
def counted() -> list[str]:
    CountingModel.texts = []
    return CountingModel.texts


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
