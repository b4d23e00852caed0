"""Kinds of documents: found by what a document says and by its form, named by any words, and never by topics."""

from pathlib import Path

import numpy as np
import pytest

import classer_core
from classer_core import Classifier, Record, Result
from classer_core.contents import Attachment
from classer_core.engine import load_engine
from classer_core.models.document_kinds import FILE, DocumentKinds
from classer_core.models.sentence_embedding import EmbeddingModel
from classer_core.models.text_shape import N_FEATURES, text_shape
from tests import documents as make

BOOKS_BILL = """Blue Harbour Books Ltd.
Invoice no: 2024-0117
Date: 12.03.2024
Customer no: 4471
Description Qty Unit price Amount
The History of Cooking 2 18.50 37.00
Gardens of the North 1 24.00 24.00
A Short Course in Physics 3 12.00 36.00
Subtotal 97.00
VAT 7% 6.79
Total due EUR 103.79
Payable within 14 days to IBAN DE12 3456 7890 1234 5678 90"""
CHEFS_CV = """Marta Lindqvist
marta.lindqvist@example.org | +46 70 123 45 67 | Malmo
Work experience
2019 - 2024 Head chef, Restaurant Havet, Malmo
Responsible for a team of nine and the menu of the season
2014 - 2019 Sous chef, Hotel Kronan, Lund
Education
2011 - 2014 Culinary school, Gothenburg
Languages: Swedish, English, French
Skills: kitchen planning, purchasing, training of apprentices"""
REMINDER = """Energy Supply Ltd.
12 Mill Road, Leeds

Mr John Carter
5 Station Street, York

4 May 2024

Dear Mr Carter,

We wrote to you in March about your electricity account and have not heard from you since. Please let us know by the
end of the month whether you wish to keep your present tariff. If you have any questions, do not hesitate to call us.

Yours sincerely,
Anne Porter
Customer Services"""
DOCUMENTS = {"invoice": BOOKS_BILL, "resume": CHEFS_CV, "letter": REMINDER}
NAMES = [
    {"invoice": "invoice", "resume": "resume", "letter": "letter"},
    {"invoice": "Rechnung", "resume": "Lebenslauf", "letter": "Brief"},
    {"invoice": "bill or receipt", "resume": "CV of an applicant", "letter": "letter or memo"},
]
OTHERS = ["scientific paper", "meeting minutes", "form", "contract"]


@pytest.fixture(scope="module")
def model() -> EmbeddingModel:
    loaded = classer_core.load_model("embedded")
    assert isinstance(loaded, EmbeddingModel)
    return loaded


@pytest.fixture(scope="module")
def kinds(model: EmbeddingModel) -> DocumentKinds:
    return DocumentKinds(model)


def zeros(classifier: Classifier, count: int) -> list[np.ndarray]:
    return [np.zeros(len(classifier.labels), np.float32)] * count


@pytest.mark.parametrize("names", NAMES)
def test_kinds_are_found_by_any_name(kinds: DocumentKinds, names: dict[str, str]) -> None:
    classifier = Classifier.of([*names.values(), *OTHERS])
    pages = [[text] for text in DOCUMENTS.values()]
    rescored = kinds.rescore(zeros(classifier, len(pages)), pages, [classifier] * len(pages))
    found = [classifier.labels[int(values.argmax())] for values in rescored]
    assert found == [names[kind] for kind in DOCUMENTS]


def test_topics_are_left_to_the_text(kinds: DocumentKinds) -> None:
    classifier = Classifier.of(["cooking", "physics", "gardening", "sports"])
    values = np.array([0.1, -0.2, 0.3, 0.0], np.float32)
    [rescored] = kinds.rescore([values], [[BOOKS_BILL]], [classifier])
    assert rescored.tobytes() == values.tobytes()


def test_a_few_words_are_not_a_document(kinds: DocumentKinds) -> None:
    classifier = Classifier.of(["invoice", "letter"])
    values = np.array([0.1, 0.2], np.float32)
    assert kinds.rescore([values], [["Total 12.00"]], [classifier])[0] is values
    assert kinds.rescore([values], [[]], [classifier])[0] is values


def test_company_changes_no_bit(kinds: DocumentKinds) -> None:
    classifier = Classifier.of([*NAMES[0].values(), *OTHERS])
    pages = [[text, "second page"] for text in DOCUMENTS.values()]
    together = kinds.rescore(zeros(classifier, 3), pages, [classifier] * 3)
    for n in range(3):
        [alone] = kinds.rescore(zeros(classifier, 1), pages[n : n + 1], [classifier])
        assert alone.tobytes() == together[n].tobytes()


def test_weights_of_another_text_model_are_refused(tmp_path: Path, model: EmbeddingModel) -> None:
    with np.load(FILE) as arrays:
        np.savez(tmp_path / "other.npz", **{**arrays, "text_model": np.array("embedded@other")})
    with pytest.raises(ValueError, match=r"was trained with embedded@other, not with embedded@\w+"):
        DocumentKinds(model, tmp_path / "other.npz")


def test_a_record_is_judged_by_its_document_and_not_by_its_own_text() -> None:
    engine = load_engine("embedded", "none", "fail")
    classifier = Classifier.of([*NAMES[0].values(), *OTHERS])
    document = Attachment("file", 1, "a.pdf", make.pdf([BOOKS_BILL]))
    outcomes = engine.classify(
        [Record("file", "", classifier, attachments=(document,)), Record("text", BOOKS_BILL, classifier)]
    )
    assert all(isinstance(outcome, Result) for outcome in outcomes)
    confidences = [outcome.confidence or 0 for outcome in outcomes if isinstance(outcome, Result)]
    assert [outcome.label for outcome in outcomes if isinstance(outcome, Result)] == ["invoice", "invoice"]
    assert confidences[0] > confidences[1] + 0.1


@pytest.mark.parametrize("pages", [[], [""], ["\n \n"]])
def test_no_text_has_no_form(pages: list[str]) -> None:
    assert not text_shape(pages).any()


def test_the_form_of_a_text() -> None:
    shapes = np.stack([text_shape([text]) for text in DOCUMENTS.values()])
    assert shapes.shape == (3, N_FEATURES) and np.isfinite(shapes).all()
    assert len({row.tobytes() for row in shapes}) == 3
    # Hostile text: nothing but one character, long lines, every kind of space.
    for text in (
        "x" * 100_000,
        "A" * 100_000 + "a",
        "\ud800" * 10,
        "\u2028\x00\t" * 50 + "a",
        "(" * 5_000,
        "1 " * 50_000,
    ):
        assert np.isfinite(text_shape([text] * 3)).all()
