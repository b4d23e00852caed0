"""Linear heads on vectors made here: what examples and unlabelled texts teach, and what they must not."""

import numpy as np
import pytest

from classer_core.calibration import (
    CALIBRATION,
    Calibration,
    corpus_evidence,
    examples_evidence,
    factor_for_mean,
)
from classer_core.heads import CORPUS_PRIOR_SHARPNESS, Head, fit_corpus, softmax, unit
from tests.vectors import accuracy, clusters


@pytest.mark.parametrize("sizes", [[200, 200, 200], [540, 30, 30]], ids=["balanced", "skewed"])
def test_a_corpus_shows_where_its_kinds_are(sizes: list[int]) -> None:
    texts, labels, kinds = clusters(2, sizes, astray=0.4)
    prior = Head.of_labels(labels, CORPUS_PRIOR_SHARPNESS)
    learned = fit_corpus(prior, texts)
    assert accuracy(learned, texts, kinds) > max(accuracy(prior, texts, kinds) + 0.02, 0.96)
    again = fit_corpus(prior, texts)
    assert np.array_equal(again.vectors, learned.vectors) and np.array_equal(again.bias, learned.bias)


def test_a_label_that_is_near_to_everything_stops_attracting_texts() -> None:
    """Its words lie in the middle of all texts; what is subtracted is the half of what it has in common with them."""
    texts, labels, kinds = clusters(8, [100, 100, 100], noise=0.1, astray=0.2)
    common = unit(np.random.default_rng(4).normal(size=(1, texts.shape[1])))
    texts, labels[0] = unit(texts + common).astype(np.float32), unit(labels[0] + 1.5 * common[0])
    prior = Head.of_labels(labels, CORPUS_PRIOR_SHARPNESS)
    learned = fit_corpus(prior, texts)
    assert accuracy(prior, texts, kinds) < 0.9 < 0.99 < accuracy(learned, texts, kinds)


def test_vectors_are_scaled_to_length_1_and_zeros_stay() -> None:
    assert np.allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)), [[0.6, 0.8], [0.0, 0.0]])


def test_confidence_is_set_to_a_wanted_mean() -> None:
    texts, labels, _ = clusters(6, [50, 50, 50])
    head = Head.of_labels(labels, 40)
    logits = head.scaled(factor_for_mean(head.logits(texts), 0.6)).logits(texts)
    assert softmax(logits).max(axis=1).mean() == pytest.approx(0.6, abs=1e-6)


def test_the_fitted_constants_are_sound() -> None:
    assert Calibration.load() == CALIBRATION
    assert 4 < CALIBRATION.label_sharpness < 60 and 4 < CALIBRATION.detection_sharpness < 60
    assert 0 < CALIBRATION.neutral_cosine < 1 and 0 <= CALIBRATION.corpus_gain < 1
    assert len(CALIBRATION.examples) == len(examples_evidence(3, 0.5, 8))
    assert len(CALIBRATION.corpus) == len(corpus_evidence(0.5, 0.8))
    # Examples that are found right without themselves, and a corpus on which answers were surer, raise confidence.
    assert CALIBRATION.examples[2] > 0 and CALIBRATION.corpus_accuracy(0.8, 0.9) > CALIBRATION.corpus_accuracy(0.4, 0.9)


def test_more_examples_are_counted_up_to_a_limit() -> None:
    assert examples_evidence(2, 0.5, 1) == examples_evidence(2, 0.5, 2)  # fewer than one a label count as one
    assert examples_evidence(2, 0.5, 4)[3] < examples_evidence(2, 0.5, 16)[3]
    assert examples_evidence(2, 0.5, 32) == examples_evidence(2, 0.5, 3_200)
