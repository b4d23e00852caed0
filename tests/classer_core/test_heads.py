"""Linear heads on vectors made here: what examples and unlabelled texts teach, and what they must not."""

import numpy as np
import pytest

from classer_core.calibration import CALIBRATION, Calibration, factor_for_mean
from classer_core.heads import CORPUS_PRIOR_SHARPNESS, Head, Labelled, Vectors, fit_corpus, fit_examples, softmax

DIMENSIONS = 32


def unit(vectors: np.ndarray) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def clusters(
    seed: int, sizes: list[int], noise: float = 0.12, astray: float = 0.5
) -> tuple[Vectors, Vectors, np.ndarray]:
    """Texts of well separated kinds, and label vectors that point to them only roughly."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(len(sizes), DIMENSIONS)))
    kinds = np.repeat(np.arange(len(sizes)), sizes)
    texts = unit(centres[kinds] + noise * rng.normal(size=(len(kinds), DIMENSIONS)))
    labels = unit(centres + astray * rng.normal(size=centres.shape))
    return texts, labels, kinds


def accuracy(head: Head, texts: Vectors, kinds: np.ndarray) -> float:
    return float((head.logits(texts).argmax(axis=1) == kinds).mean())


def test_examples_move_labels_to_where_their_texts_are() -> None:
    texts, labels, kinds = clusters(3, [60, 60, 60])
    shown = np.arange(len(kinds)) % 60 < 8
    before = accuracy(Head.of_labels(labels, 10), texts[~shown], kinds[~shown])
    after = accuracy(fit_examples(labels, Labelled(texts[shown], kinds[shown])), texts[~shown], kinds[~shown])
    assert before < 0.95 < after


def test_examples_that_say_nothing_change_little() -> None:
    """Equally many examples of random labels: the words stay in charge."""
    texts, labels, _ = clusters(4, [40, 40])
    rng = np.random.default_rng(1)
    chance = Labelled(unit(rng.normal(size=(16, DIMENSIONS))), np.arange(16) % 2)
    words = Head.of_labels(labels, 10).logits(texts).argmax(axis=1)
    assert (fit_examples(labels, chance).logits(texts).argmax(axis=1) == words).mean() > 0.9


def test_a_label_without_examples_keeps_its_words() -> None:
    texts, labels, kinds = clusters(5, [50, 50, 50], noise=0.05)
    labels = unit(labels + 4 * np.stack([texts[kinds == kind].mean(axis=0) for kind in range(3)]))
    head = fit_examples(labels, Labelled(texts[:8], kinds[:8]))
    assert accuracy(head, texts, kinds) == 1.0


@pytest.mark.parametrize("sizes", [[200, 200, 200], [540, 30, 30]], ids=["balanced", "skewed"])
def test_a_corpus_shows_where_its_kinds_are(sizes: list[int]) -> None:
    texts, labels, kinds = clusters(2, sizes, astray=0.4)
    prior = Head.of_labels(labels, CORPUS_PRIOR_SHARPNESS)
    learned = fit_corpus(prior, texts)
    assert accuracy(learned, texts, kinds) > max(accuracy(prior, texts, kinds) + 0.02, 0.97)
    again = fit_corpus(prior, texts)
    assert np.array_equal(again.vectors, learned.vectors) and np.array_equal(again.bias, learned.bias)


def test_confidence_is_set_to_a_wanted_mean() -> None:
    texts, labels, _ = clusters(6, [50, 50, 50])
    head = Head.of_labels(labels, 40)
    logits = head.scaled(factor_for_mean(head.logits(texts), 0.6)).logits(texts)
    assert softmax(logits).max(axis=1).mean() == pytest.approx(0.6, abs=1e-6)


def test_the_fitted_constants_are_sound() -> None:
    assert Calibration.load() == CALIBRATION
    assert 4 < CALIBRATION.label_sharpness < 60 and 4 < CALIBRATION.detection_sharpness < 60
    assert 0 < CALIBRATION.neutral_cosine < 0.6 and 0.1 < CALIBRATION.examples_factor < 6
