"""Kind `entailment:ID`: cross-encoders for natural language inference, of the BERT, DeBERTa and ModernBERT families.

A label is as likely as the sentence "This text is about LABEL." follows from the text.
Source: Yin et al., Benchmarking Zero-shot Text Classification, arXiv 1909.00161.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from classer_core.classifiers import Classifier, shown
from classer_core.models import Model
from classer_core.models.choosing import entailment_column
from classer_core.models.hub import failed
from classer_core.models.networks import Floats, Network, settings_digest
from classer_core.models.pairs import PairScorer
from classer_core.models.shortlists import with_shortlist
from classer_core.models.windowed import Values

if TYPE_CHECKING:
    from classer_core.models.spec import ModelSpec

HYPOTHESIS = "This {text_type} is about {label}."


def load(spec: ModelSpec, threads: int | None = None) -> Model:
    """Load a model for natural language inference.

    Raises:
        ModelLoadError: it can't be loaded, or none of its outputs is entailment.
    """
    network = Network.load(spec, "entailment", "AutoModelForSequenceClassification", threads)
    names = network.files.label_names
    column = entailment_column(names)
    if column is None or len(names) < 2:
        message = f"none of its labels is entailment (id2label is {shown(names)})"
        raise failed(spec, message, "Correct id2label of its config.json, or name a model for NLI")
    hypothesis = spec.hypothesis or HYPOTHESIS
    id = f"entailment:{spec.source}@{network.digest}-{settings_digest(hypothesis)}-{network.number_format}"
    statements = partial(hypotheses, hypothesis)
    scorer = PairScorer(network, id, statements, partial(entailment_logits, column), text_first=True)
    return with_shortlist(scorer, spec.shortlist, threads)


def hypotheses(template: str, classifier: Classifier) -> list[str]:
    """Return the sentence about each label; a description follows the label.

    >>> hypotheses(HYPOTHESIS, Classifier.of(["a", "b"], descriptions={"b": "the letter"}, text_type="note"))
    ['This note is about a.', 'This note is about b: the letter.']
    """
    descriptions = dict(classifier.descriptions)
    sentences = []
    for label in classifier.labels:
        # A period at the end of a description would stand beside that of the sentence.
        words = f"{label}: {descriptions[label].rstrip('. ')}" if label in descriptions else label
        # In this order: a label may contain {text_type}, and text_type can't be told from the template's own then.
        sentence = template.replace("{text_type}", classifier.text_type or "text")
        sentences.append(sentence.replace("{label}", words))
    return sentences


def entailment_logits(column: int, outputs: Floats, classifier: Classifier) -> Values:
    """Return logits (n_labels,), given outputs (n_labels, n_outputs).

    They are those of entailment if exactly one label is right, else the log odds of entailment against all others.

    >>> entailment_logits(1, np.zeros((2, 3), np.float32), Classifier.of(["a", "b"], mode="multi")).round(2).tolist()
    [-0.6899999976158142, -0.6899999976158142]
    """
    if classifier.is_exclusive:
        return outputs[:, column]
    others = np.delete(outputs, column, axis=1).astype(np.float64)
    highest = others.max(axis=1, keepdims=True)
    against = highest[:, 0] + np.log(np.exp(others - highest).sum(axis=1))
    return np.asarray(outputs[:, column] - against, np.float32)
