"""Learning from a job's own texts on the real model, and what is kept of it."""

import dataclasses
import random

import numpy as np
import pytest

from classer_core import Classifier, Engine, Failure, FailureCode, Record, Result, load_model
from classer_core.errors import LearningError
from classer_core.learned import Learned
from classer_core.learning import learn
from classer_core.models.sentence_embedding import EmbeddingModel

PEOPLE = ["Anna", "Omar", "Li", "Greta", "Paul", "Noor", "Ivan", "Zoe", "Kofi", "Mia"]
SENTENCES = {
    "sport": ["{} scored in the last minute of the match", "the coach praised how {} played", "{} won the race"],
    "food": ["{} fried onions in butter", "{} baked bread for dinner", "the soup that {} cooked needs salt"],
    "space": ["{} saw a comet through the telescope", "{} will fly to the moon", "{} photographed Saturn's rings"],
}
# Names that mean nothing, so that only learning can tell the labels apart well.
CLASSIFIER = Classifier.of(["sport", "food", "space"])


def corpus(count: int, seed: int = 0) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    pairs = [(sentence, kind) for kind, sentences in SENTENCES.items() for sentence in sentences]
    found = []
    for _ in range(count):
        sentence, kind = rng.choice(pairs)
        found.append((sentence.format(f"{rng.choice(PEOPLE)} {rng.choice(PEOPLE)}"), kind))
    return found


@pytest.fixture(scope="module")
def model() -> EmbeddingModel:
    loaded = load_model("embedded")
    assert isinstance(loaded, EmbeddingModel)
    return loaded


def classify(model: EmbeddingModel, texts: list[str], classifier: Classifier) -> list[Result | Failure]:
    return Engine(model).classify([Record(str(n), text, classifier) for n, text in enumerate(texts)])


def test_what_was_learned_answers_and_survives_saving(model: EmbeddingModel) -> None:
    rows = corpus(120)
    texts = [text for text, _ in rows]
    lesson = learn(model, CLASSIFIER, texts)
    assert lesson.objection is None and lesson.stability > 0.9
    learned = lesson.classifier.learned
    assert learned is not None and (learned.texts, learned.gold) == (120, 0)
    assert lesson.classifier.name != CLASSIFIER.name
    kept = dataclasses.replace(CLASSIFIER, learned=Learned.of(learned.to_mapping()))
    assert kept == lesson.classifier and kept.name == lesson.classifier.name
    answers = classify(model, texts[:30], kept)
    assert [a.label for a in answers if isinstance(a, Result)] == [kind for _, kind in rows[:30]]
    # The order of the labels changes nothing.
    turned = Classifier.of(list(reversed(kept.labels)), learned=learned.to_mapping())
    assert turned.name == kept.name
    confidences = [
        [a.confidence for a in found if isinstance(a, Result)]
        for found in (answers, classify(model, texts[:30], turned))
    ]
    assert confidences[0] == confidences[1]


def test_gold_rows_give_labels_their_meaning(model: EmbeddingModel) -> None:
    nonsense = Classifier.of(["alpha", "beta", "gamma"])
    names = dict(zip(SENTENCES, nonsense.labels, strict=True))
    rows = [(text, names[kind]) for text, kind in corpus(160)]
    lesson = learn(model, nonsense, [text for text, _ in rows], gold=rows[:40])
    assert lesson.accuracy_before < 0.7 < 0.95 < lesson.accuracy_after
    answers = classify(model, [text for text, _ in rows[40:70]], lesson.classifier)
    assert [a.label for a in answers if isinstance(a, Result)] == [label for _, label in rows[40:70]]


def test_the_guard_objects_to_gold_rows_that_contradict_the_rest(model: EmbeddingModel) -> None:
    rng = random.Random(2)
    others = {right: [label for label in CLASSIFIER.labels if label != right] for right in CLASSIFIER.labels}
    wrong = [(text, right if rng.random() < 0.5 else rng.choice(others[right])) for text, right in corpus(60, seed=9)]
    lesson = learn(model, CLASSIFIER, [text for text, _ in corpus(80)], gold=wrong)
    assert lesson.accuracy_after < lesson.accuracy_before < 0.85
    assert lesson.objection is not None and "held-out" in lesson.objection


def test_another_models_lesson_is_refused(model: EmbeddingModel) -> None:
    lesson = learn(model, CLASSIFIER, [text for text, _ in corpus(60)])
    assert lesson.classifier.learned is not None
    foreign = dataclasses.replace(lesson.classifier.learned, model="other@123")
    [failure] = classify(model, ["hello"], dataclasses.replace(CLASSIFIER, learned=foreign))
    assert isinstance(failure, Failure)
    assert failure.code == FailureCode.CLASSIFIER_INVALID and "other@123" in failure.message


@pytest.mark.parametrize(
    ("classifier", "count", "gold", "message"),
    [
        (Classifier.of(["a", "b"], mode="multi"), 60, [], "mode multi"),
        (Classifier.of(["a"]), 60, [], "a single label"),
        (CLASSIFIER, 10, [], "there are 10 texts.*at least 50"),
        (CLASSIFIER, 60, [("x", "music")], "'x' has the label 'music'"),
    ],
)
def test_what_cannot_be_learned(
    model: EmbeddingModel, classifier: Classifier, count: int, gold: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(LearningError, match=message):
        learn(model, classifier, [text for text, _ in corpus(count)], gold)


@pytest.mark.parametrize("damage", [{"vectors": "AAAA"}, {"bias": [1.0]}, {"vectors": "!"}, {"labels": None}])
def test_damaged_lessons_are_refused(damage: dict[str, object]) -> None:
    whole = Learned("m@1", ("a", "b"), np.ones((2, 4), "<f2").tobytes(), (0.0, 0.5), 50, 0, "d")
    assert Learned.of(whole.to_mapping()) == whole
    with pytest.raises(ValueError, match="damaged"):
        Learned.of({**whole.to_mapping(), **damage})


def test_a_thousand_records_in_any_batches_and_order(model: EmbeddingModel) -> None:
    """The same label, and the same confidence to 4 decimals; the benchmark of quality does all one by one."""
    texts = [f"{text}, {n}" for n, (text, _) in enumerate(corpus(1_000, seed=3))]
    engine = Engine(model)

    def answers(positions: list[int], size: int) -> dict[int, tuple[str | None, float | None]]:
        found = {}
        for start in range(0, len(positions), size):
            records = [Record(str(n), texts[n], CLASSIFIER) for n in positions[start : start + size]]
            for outcome in engine.classify(records):
                assert isinstance(outcome, Result)
                found[int(outcome.id)] = (outcome.label, outcome.confidence)
        return found

    order = list(range(1_000))
    first = answers(order, 512)
    for size, count in ((64, 1_000), (7, 105), (1, 20)):
        random.Random(size).shuffle(order)
        assert answers(order[:count], size).items() <= first.items()
