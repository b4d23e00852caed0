"""A head from a few examples of each label, and from what the labels are called.

Three views of the same vectors are brought to one scale and added: logistic regression on examples and label words,
normal distributions of one covariance whose means are pulled to the words, and the words alone. Each of them errs
elsewhere: over kept-out tasks the sum is better than any of them, with 1 to 8 examples a label.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from classer_core.heads import Floats, Head, Labelled, Vectors

# Logistic regression: a label's words count as so many examples; the inverse of its L2 penalty.
WORDS_WEIGHT = 2.0
INVERSE_PENALTY = 30.0
ITERATIONS = 40
# Normal distributions: examples that pull a mean as strongly as the words do; share of the covariance taken as round.
MEANS_PULL = 2.0
ROUNDNESS = 0.6
# The words alone, beside 1 for each of the other two views.
WORDS_SHARE = 0.5
# Of the regression by which answers to left-out examples are judged.
RIDGE = 0.1


class ExamplesHead(NamedTuple):
    """A head whose scores have a spread of 1, and the share of examples that are found right without themselves."""

    head: Head
    accuracy: float


def fit_examples(label_vectors: Vectors, examples: Labelled) -> ExamplesHead:
    """Return what examples and label words say together; logits are not calibrated yet.

    Any label may have no example. Equal input gives an equal head.
    """
    words = label_vectors.astype(np.float64)
    known = Labelled(examples.vectors.astype(np.float64), examples.labels)
    middle = _middle(words, known)
    centred = words - words.mean(axis=0)
    views = [
        (1.0, _logistic(words, known)),
        (1.0, _normal(centred, known, middle)),
        (WORDS_SHARE, Head(centred, -centred @ middle)),
    ]
    scaled = [view.scaled(share / _spread(view)) for share, view in views]
    whole = Head(np.sum([view.vectors for view in scaled], axis=0), np.sum([view.bias for view in scaled], axis=0))
    return ExamplesHead(whole.scaled(1 / _spread(whole)), left_out_accuracy(words, known))


def left_out_accuracy(words: Floats, examples: Labelled) -> float:
    """Return the share of examples that ridge regression on the others, and on the words, finds right.

    Source: the closed form of leave-one-out, residual / (1 - leverage).
    """
    n_labels = len(words)
    points = np.concatenate([words - words.mean(axis=0), examples.vectors - _middle(words, examples)])
    targets = np.eye(n_labels)[np.concatenate([np.arange(n_labels), examples.labels])] - 1 / n_labels
    weights = np.concatenate([np.full(n_labels, WORDS_WEIGHT), np.ones(len(examples))])
    inverse = np.linalg.inv(points @ points.T + np.diag(RIDGE / weights))
    left_out = targets - inverse @ targets / np.diag(inverse)[:, None]
    return float((left_out[n_labels:].argmax(axis=1) == examples.labels).mean())


def _middle(words: Floats, examples: Labelled) -> Floats:
    """Return where texts of all labels lie in the mean, corrected for labels that have no example."""
    shown = np.unique(examples.labels)
    means = np.stack([examples.vectors[examples.labels == label].mean(axis=0) for label in shown])
    middle: Floats = (means - (words - words.mean(axis=0))[shown]).mean(axis=0)
    return middle


def _spread(head: Head) -> float:
    """Return the standard deviation of a head's scores over labels and over texts that point anywhere."""
    return float(np.sqrt(((head.vectors - head.vectors.mean(axis=0)) ** 2).mean())) or 1.0


def _logistic(words: Floats, examples: Labelled) -> Head:
    """Return logistic regression on the examples and the words."""
    from scipy.optimize import minimize

    n_labels, size = len(words), words.size
    points = np.concatenate([words, examples.vectors])
    wanted = np.eye(n_labels)[np.concatenate([np.arange(n_labels), examples.labels])]
    weights = np.concatenate([np.full(n_labels, WORDS_WEIGHT), np.ones(len(examples))])[:, None]

    def loss(parameters: Floats) -> tuple[float, Floats]:
        vectors, bias = parameters[:size].reshape(words.shape), parameters[size:]
        logits = points @ vectors.T + bias
        top = logits.max(axis=1, keepdims=True)
        shares = np.exp(logits - top)
        sums = shares.sum(axis=1, keepdims=True)
        error = weights * (shares / sums - wanted)
        value = float((weights * (np.log(sums) + top - (wanted * logits).sum(axis=1, keepdims=True))).sum())
        gradient = np.concatenate([(error.T @ points + vectors / INVERSE_PENALTY).ravel(), error.sum(axis=0)])
        return value + float((vectors * vectors).sum()) / (2 * INVERSE_PENALTY), gradient

    start = np.zeros(size + n_labels)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}).x
    return Head(found[:size].reshape(words.shape), found[size:])


def _normal(centred_words: Floats, examples: Labelled, middle: Floats) -> Head:
    """Return linear discriminant analysis, each label's mean pulled to its words."""
    counts = np.bincount(examples.labels, minlength=len(centred_words)).astype(np.float64)[:, None]
    texts = examples.vectors - middle
    means = MEANS_PULL * centred_words
    np.add.at(means, examples.labels, texts)
    means /= MEANS_PULL + counts
    rest = texts - means[examples.labels]
    within = rest.T @ rest / len(examples)
    round_part = np.trace(within) / len(within) * np.eye(len(within))
    within = (1 - ROUNDNESS) * within + ROUNDNESS * round_part + 1e-9 * np.eye(len(within))
    directions = np.linalg.solve(within, means.T).T
    return Head(directions, -0.5 * (directions * means).sum(axis=1) - directions @ middle)
