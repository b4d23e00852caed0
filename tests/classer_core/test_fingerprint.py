"""Fingerprints: every ingredient changes them, and nothing else does."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classer_core import Classifier, Engine, Record
from classer_core import fingerprint as module
from classer_core.contents import Attachment
from tests.fakes import FakeModel

words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12).filter(str.strip)


@st.composite
def requests(draw: Callable[..., Any]) -> tuple[str, dict[str, Any], list[tuple[str, bytes]]]:
    """A text, the fields of a classifier, and attachments."""
    labels = draw(st.lists(words, min_size=1, max_size=5, unique=True))
    described = draw(st.lists(st.sampled_from(labels), unique=True))
    shown = draw(st.lists(st.sampled_from(labels), unique=True))
    fields = {
        "labels": labels,
        "descriptions": {label: draw(words) for label in described},
        "examples": {label: draw(st.lists(words, min_size=1, max_size=3)) for label in shown},
        "text_type": draw(st.none() | words),
        "mode": draw(st.sampled_from(["single", "multi"])),
        "threshold": draw(st.floats(0, 1)),
    }
    attached = draw(st.lists(st.tuples(st.sampled_from(["image", "file"]), st.binary(max_size=20)), max_size=3))
    return draw(st.text(max_size=20).filter(lambda text: "\x00" not in text and text.isprintable())), fields, attached


def record(text: str, fields: dict[str, Any], attached: list[tuple[str, bytes]], url: str = "https://a/b") -> Record:
    items = tuple(Attachment(field, n, url, data) for n, (field, data) in enumerate(attached, start=1))  # type: ignore[arg-type]
    return Record("id", text, Classifier.of(**fields), attachments=items)


class OtherModel(FakeModel):
    id = "other"


ENGINE = Engine(FakeModel())


def print_of(record: Record, engine: Engine = ENGINE) -> bytes:
    [found] = engine.fingerprints([record])
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests(), st.data())
def test_every_ingredient_changes_it(request: tuple[str, dict[str, Any], list[tuple[str, bytes]]], data: Any) -> None:
    text, fields, attached = request
    base = print_of(record(text, fields, attached))
    changed = {
        "text": record(text + "!", fields, attached),
        "labels": record(text, {**fields, "labels": [*fields["labels"], "one label more"]}, attached),
        "descriptions": record(text, {**fields, "descriptions": {fields["labels"][0]: "another meaning"}}, attached),
        "examples": record(text, {**fields, "examples": {fields["labels"][0]: ["another example"]}}, attached),
        "text_type": record(text, {**fields, "text_type": "another kind of text"}, attached),
        "mode": record(text, {**fields, "mode": "multi" if fields["mode"] == "single" else "single"}, attached),
        "threshold": record(text, {**fields, "threshold": fields["threshold"] / 2 + 0.3001}, attached),
        "attachment": record(text, fields, [*attached, ("image", b"more")]),
    }
    if attached:
        place = data.draw(st.integers(0, len(attached) - 1))
        field, held = attached[place]
        other = "image" if field == "file" else "file"
        changed["bytes"] = record(text, fields, [*attached[:place], (field, held + b"!"), *attached[place + 1 :]])
        changed["field"] = record(text, fields, [*attached[:place], (other, held), *attached[place + 1 :]])
        changed["text moved"] = record(text + held.hex(), fields, attached[:place] + attached[place + 1 :])
        assert print_of(record(text, fields, attached), Engine(FakeModel(), truncate=True)) != base
    prints = {name: print_of(other) for name, other in changed.items()}
    assert len({base, *prints.values()}) == len(prints) + 1, [name for name in prints if prints[name] == base]
    assert print_of(record(text, fields, attached), Engine(OtherModel())) != base


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests(), st.randoms())
def test_nothing_else_changes_it(request: tuple[str, dict[str, Any], list[tuple[str, bytes]]], random: Any) -> None:
    text, fields, attached = request

    def shuffled(value: Any) -> Any:
        if isinstance(value, list):
            return random.sample(value, len(value))
        if isinstance(value, dict):
            return {key: shuffled(value[key]) for key in shuffled(list(value))}
        return value

    base = record(text, fields, attached)
    same = record(text, {name: shuffled(value) for name, value in fields.items()}, attached, "s3://other/place")
    same = replace(same, id="another", priority="fast", cache=False, fetch_ms=7.0)
    same.classifier = replace(same.classifier, saved_as="name@v7")
    beside = record("something else", {"labels": ["x"]}, [])
    assert ENGINE.fingerprints([beside, same, beside])[1] == print_of(base)
    # A truncated document is another content; a text is read whole either way.
    assert attached or print_of(base, Engine(FakeModel(), truncate=True)) == print_of(base)


def test_it_is_the_same_on_every_machine_and_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored is found again: a change here throws every cache and every last output away."""
    monkeypatch.setattr(module, "SCORING_VERSION", 1)
    monkeypatch.setattr(module, "CALIBRATION", SimpleNamespace(digest="fitted"))
    monkeypatch.setenv("PATH", "")  # no LibreOffice
    engine = Engine(FakeModel())
    text = print_of(record("hello", {"labels": ["b", "a"], "text_type": "note"}, []), engine)
    assert text.hex() == "e2de622926e344f1b2f9c637de8604e179bf8458"
    attached = print_of(record("", {"labels": ["a"]}, [("image", b"pixels"), ("file", b"pages")]), engine)
    assert attached.hex() == "e0ba7803ddd2f369d7813d3a768a26465f260d95"


def test_the_version_of_the_scoring_code_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = print_of(record("hello", {"labels": ["a"]}, []))
    monkeypatch.setattr(module, "SCORING_VERSION", module.SCORING_VERSION + 1)
    assert print_of(record("hello", {"labels": ["a"]}, []), Engine(FakeModel())) != before


def test_bytes_that_are_not_here_have_none() -> None:
    with pytest.raises(ValueError, match="image 1 has not been fetched"):
        print_of(Record("1", "", Classifier.of(["a"]), attachments=(Attachment("image", 1, "https://a/b"),)))
