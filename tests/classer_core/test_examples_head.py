"""Heads from a few examples, on vectors made here: what examples teach, and what they must not."""

import numpy as np

from classer_core.calibration import CALIBRATION
from classer_core.examples_head import fit_examples, left_out_accuracy
from classer_core.heads import Head, Labelled, softmax, unit
from tests.vectors import DIMENSIONS, accuracy, clusters


def test_examples_move_labels_to_where_their_texts_are() -> None:
    texts, labels, kinds = clusters(3, [60, 60, 60])
    shown = np.arange(len(kinds)) % 60 < 8
    before = accuracy(Head.of_labels(labels, 10), texts[~shown], kinds[~shown])
    after = accuracy(fit_examples(labels, Labelled(texts[shown], kinds[shown])).head, texts[~shown], kinds[~shown])
    assert before < 0.95 < after


def test_words_that_mean_nothing_do_not_stand_in_the_way() -> None:
    texts, _, kinds = clusters(3, [60, 60, 60])
    labels = unit(np.random.default_rng(5).normal(size=(3, DIMENSIONS)).astype(np.float32))
    shown = np.arange(len(kinds)) % 60 < 8
    head = fit_examples(labels, Labelled(texts[shown], kinds[shown])).head
    assert accuracy(Head.of_labels(labels, 10), texts, kinds) < 0.5
    assert accuracy(head, texts[~shown], kinds[~shown]) > 0.95


def test_one_example_of_one_label_leaves_the_others_to_their_words() -> None:
    texts, labels, kinds = clusters(5, [50, 50, 50], noise=0.05, astray=0.1)
    for position in (0, 60, 110):
        head = fit_examples(labels, Labelled(texts[[position]], kinds[[position]])).head
        assert accuracy(head, texts, kinds) > 0.98


def test_a_label_without_examples_keeps_its_words() -> None:
    texts, labels, kinds = clusters(5, [50, 50, 50], noise=0.05)
    labels = unit(labels + 4 * np.stack([texts[kinds == kind].mean(axis=0) for kind in range(3)]))
    head = fit_examples(labels, Labelled(texts[:8], kinds[:8])).head
    assert accuracy(head, texts, kinds) == 1.0


def test_many_examples_of_one_label_do_not_drown_the_others() -> None:
    texts, labels, kinds = clusters(7, [80, 80, 80], noise=0.08, astray=0.3)
    shown = np.concatenate([np.arange(60), [80, 81, 160]])
    rest = np.setdiff1d(np.arange(len(kinds)), shown)
    head = fit_examples(labels, Labelled(texts[shown], kinds[shown])).head
    assert accuracy(head, texts[rest], kinds[rest]) > 0.95


def test_left_out_examples_are_judged_without_themselves() -> None:
    """The closed form gives what fitting anew without each one gives: chance where labels are random."""
    rng = np.random.default_rng(1)
    words = unit(rng.normal(size=(4, DIMENSIONS)).astype(np.float32)).astype(np.float64)
    vectors = unit(rng.normal(size=(200, DIMENSIONS)).astype(np.float32))
    assert left_out_accuracy(words, Labelled(vectors, rng.integers(0, 4, 200))) < 0.4
    texts, labels, kinds = clusters(3, [60, 60, 60])
    assert left_out_accuracy(labels.astype(np.float64), Labelled(texts, kinds)) > 0.95


def test_confidence_follows_how_well_examples_agree() -> None:
    texts, labels, kinds = clusters(3, [60, 60, 60])
    shown, chance = np.arange(len(kinds)) % 60 < 8, np.random.default_rng(2).permutation(kinds)
    means = []
    for owners in (kinds, chance):
        head = CALIBRATION.by_examples(fit_examples(labels, Labelled(texts[shown], owners[shown])), int(shown.sum()))
        means.append(softmax(head.logits(texts[~shown])).max(axis=1).mean())
    assert means[0] > means[1] + 0.15


def test_the_same_examples_give_the_same_head() -> None:
    texts, labels, kinds = clusters(3, [20, 20])
    first, again = (fit_examples(labels, Labelled(texts, kinds)) for _ in range(2))
    assert np.array_equal(first.head.vectors, again.head.vectors) and first.accuracy == again.accuracy
