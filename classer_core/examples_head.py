"""Fit a linear head on a few examples per label and on the labels' names and descriptions ("words").

The head is the sum of three heads of equal spread: logistic regression on examples and words, linear discriminant
analysis with means pulled towards the words, and the words alone. Their errors differ: on tasks kept out of training,
with 1 to 8 examples per label, the sum is more accurate than each of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from classer_core.heads import Floats, Head, Labelled, Vectors

# Logistic regression: number of examples that a label's words count as; inverse of the L2 penalty.
WORDS_WEIGHT = 2.0
INVERSE_PENALTY = 30.0
ITERATIONS = 40
# Discriminant analysis: number of examples that pull a mean as strongly as the words; shrinkage of the covariance
# towards a multiple of the identity.
MEANS_PULL = 2.0
ROUNDNESS = 0.6
# Weight of the words alone; the other two heads have weight 1.
WORDS_SHARE = 0.5
# Penalty of the ridge regression that estimates the accuracy on left-out examples.
RIDGE = 0.1


class ExamplesHead(NamedTuple):
    """A head fitted on examples.

    Attributes:
        head: its scores have a standard deviation of 1.
        accuracy: share of examples that are classified correctly when left out of the fit, 0-1.
    """

    head: Head
    accuracy: float


def fit_examples(label_vectors: Vectors, examples: Labelled) -> ExamplesHead:
    """Return the head fitted on examples and label vectors; its logits are not calibrated. Deterministic.

    Args:
        label_vectors: (n_labels, n_dimensions) unit vectors of the labels' words.
        examples: at least one; labels without examples are allowed.
    """
    words = label_vectors.astype(np.float64)
    examples = Labelled(examples.vectors.astype(np.float64), examples.labels)
    middle = _middle(words, examples)
    centred = words - words.mean(axis=0)
    views = [
        (1.0, _logistic(words, examples)),
        (1.0, _normal(centred, examples, middle)),
        (WORDS_SHARE, Head(centred, -centred @ middle)),
    ]
    scaled = [view.scaled(share / _spread(view)) for share, view in views]
    whole = Head(np.sum([view.vectors for view in scaled], axis=0), np.sum([view.bias for view in scaled], axis=0))
    return ExamplesHead(whole.scaled(1 / _spread(whole)), left_out_accuracy(words, examples))


def left_out_accuracy(words: Floats, examples: Labelled) -> float:
    """Return the share of examples that ridge regression on the other examples and the words classifies correctly.

    Source: closed form of the leave-one-out residual, residual / (1 - leverage).
    """
    n_labels = len(words)
    points = np.concatenate([words - words.mean(axis=0), examples.vectors - _middle(words, examples)])
    targets = np.eye(n_labels)[np.concatenate([np.arange(n_labels), examples.labels])] - 1 / n_labels
    weights = np.concatenate([np.full(n_labels, WORDS_WEIGHT), np.ones(len(examples))])
    inverse = np.linalg.inv(points @ points.T + np.diag(RIDGE / weights))
    left_out = targets - inverse @ targets / np.diag(inverse)[:, None]
    return float((left_out[n_labels:].argmax(axis=1) == examples.labels).mean())


def _middle(words: Floats, examples: Labelled) -> Floats:
    """Return the mean vector of texts over all labels, estimated from the labels that have examples."""
    with_examples = np.unique(examples.labels)
    means = np.stack([examples.vectors[examples.labels == label].mean(axis=0) for label in with_examples])
    middle: Floats = (means - (words - words.mean(axis=0))[with_examples]).mean(axis=0)
    return middle


def _spread(head: Head) -> float:
    """Return the standard deviation of a head's scores over labels and over vectors of random direction."""
    return float(np.sqrt(((head.vectors - head.vectors.mean(axis=0)) ** 2).mean())) or 1.0


def _logistic(words: Floats, examples: Labelled) -> Head:
    """Return the head of logistic regression on the examples and the words."""
    from scipy.optimize import minimize

    n_labels, size = len(words), words.size
    points = np.concatenate([words, examples.vectors])
    targets = np.eye(n_labels)[np.concatenate([np.arange(n_labels), examples.labels])]
    weights = np.concatenate([np.full(n_labels, WORDS_WEIGHT), np.ones(len(examples))])[:, None]

    def loss(parameters: Floats) -> tuple[float, Floats]:
        vectors, bias = parameters[:size].reshape(words.shape), parameters[size:]
        logits = points @ vectors.T + bias
        top = logits.max(axis=1, keepdims=True)
        shares = np.exp(logits - top)
        sums = shares.sum(axis=1, keepdims=True)
        error = weights * (shares / sums - targets)
        value = float((weights * (np.log(sums) + top - (targets * logits).sum(axis=1, keepdims=True))).sum())
        gradient = np.concatenate([(error.T @ points + vectors / INVERSE_PENALTY).ravel(), error.sum(axis=0)])
        return value + float((vectors * vectors).sum()) / (2 * INVERSE_PENALTY), gradient

    start = np.zeros(size + n_labels)
    parameters = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}).x
    return Head(parameters[:size].reshape(words.shape), parameters[size:])


def _normal(centred_words: Floats, examples: Labelled, middle: Floats) -> Head:
    """Return the head of linear discriminant analysis, with each label's mean pulled towards its words."""
    counts = np.bincount(examples.labels, minlength=len(centred_words)).astype(np.float64)[:, None]
    texts = examples.vectors - middle
    means = MEANS_PULL * centred_words
    np.add.at(means, examples.labels, texts)
    means /= MEANS_PULL + counts
    residuals = texts - means[examples.labels]
    within = residuals.T @ residuals / len(examples)
    round_part = np.trace(within) / len(within) * np.eye(len(within))
    within = (1 - ROUNDNESS) * within + ROUNDNESS * round_part + 1e-9 * np.eye(len(within))
    directions = np.linalg.solve(within, means.T).T
    return Head(directions, -0.5 * (directions * means).sum(axis=1) - directions @ middle)
