"""The embedded eyes on real weights: text is read off pictures and scans, things in photos are named."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from PIL import Image, ImageDraw

from classer_core import Classifier, Engine, Failure, FailureCode, Record, Result
from classer_core.contents import Attachment
from classer_core.engine import load_engine
from tests import documents as make
from tests.fakes import FakeModel

KINDS = Classifier.of(["invoice", "love letter", "recipe"])


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with closing(load_engine("embedded", "embedded", "fail")) as made:
        yield made


def classify(engine: Engine, *attachments: Attachment, text: str = "", labels: Classifier = KINDS) -> Result:
    [outcome] = engine.classify([Record("r", text, labels, attachments=attachments)])
    assert isinstance(outcome, Result), outcome
    return outcome


def file(data: bytes) -> Attachment:
    return Attachment("file", 1, "x", data)


def test_a_scanned_invoice_is_read(engine: Engine) -> None:
    answer = classify(engine, file(make.scan(make.WORDS)))
    assert answer.label == "invoice"
    assert answer.evidence == "page 1"
    assert answer.visual_tokens is not None and answer.tokens > answer.visual_tokens


def test_what_ocr_alone_has_read_counts_as_seen(engine: Engine) -> None:
    """So much is written there that the looks of the page do not count."""
    answer = classify(engine, file(make.scan(" ".join([make.WORDS] * 20))))
    assert answer.visual_tokens and answer.tokens > answer.visual_tokens
    assert "rapidocr" in answer.model.lower()


def test_pages_with_text_are_not_looked_at(engine: Engine) -> None:
    answer = classify(engine, file(make.pdf(make.WORDS)))
    assert (answer.label, answer.visual_tokens, answer.evidence) == ("invoice", None, "page 1")


def test_a_picture_of_a_thing_is_named(engine: Engine) -> None:
    answer = classify(engine, Attachment("image", 1, "x", make.png(traffic_light())), labels=STREET)
    assert answer.label == "traffic light"
    assert answer.evidence == "image 1"


def test_the_page_that_matters_decides(engine: Engine) -> None:
    """Blank pages, before and after, neither decide nor are the evidence."""
    answer = classify(engine, file(make.pdf("", "", make.WORDS, "")))
    assert (answer.label, answer.evidence) == ("invoice", "page 3")
    alone = classify(engine, file(make.pdf(make.WORDS)))
    assert answer.confidence == pytest.approx(alone.confidence, abs=0.1)


def test_text_and_picture_count_together(engine: Engine) -> None:
    answer = classify(engine, Attachment("image", 1, "x", make.png(traffic_light())), text="a note", labels=STREET)
    assert answer.label == "traffic light"
    assert answer.visual_tokens is not None


def test_without_a_visual_model_a_picture_is_a_failure_with_its_remedy() -> None:
    picture = Attachment("image", 1, "x", make.png(traffic_light()))
    with closing(Engine(FakeModel())) as engine:
        seen, read = engine.classify(
            [
                Record("1", "", KINDS, attachments=(picture,)),
                Record("2", "an invoice", KINDS, attachments=(picture,)),
            ]
        )
    assert isinstance(seen, Failure) and isinstance(read, Result)
    assert seen.code == FailureCode.NEEDS_VISUAL_MODEL
    assert "set visual_model to embedded" in seen.message
    assert (read.label, read.visual_tokens) == ("invoice", None)


STREET = Classifier.of(["traffic light", "banana", "dog"])


def traffic_light() -> Image.Image:
    """A drawing that ImageNet's classifiers recognise."""
    picture = Image.new("RGB", (300, 300), (120, 170, 220))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((140, 210, 160, 300), (60, 60, 60))
    pen.rounded_rectangle((100, 30, 200, 220), 12, (30, 30, 30))
    for number, colour in enumerate([(250, 40, 30), (90, 70, 10), (10, 80, 30)]):
        pen.ellipse((125, 45 + 58 * number, 175, 95 + 58 * number), colour)
    return picture


def test_a_neighbour_that_breaks_the_model_changes_no_answer(engine: Engine) -> None:
    """Pictures are read again when halves are tried, and what was read before is not read twice."""
    scan = Record("scan", "", KINDS, attachments=(file(make.scan(make.WORDS)),))
    [alone] = engine.classify([scan])
    broken = Record("broken", "x", Classifier(()))
    together, failure = engine.classify([scan, broken])
    assert isinstance(alone, Result) and isinstance(together, Result) and isinstance(failure, Failure)
    assert (together.tokens, together.confidence) == (alone.tokens, alone.confidence)
