"""Shortlists: the embedded model chooses the labels that a slower model scores."""

from __future__ import annotations

from classer_core.models import EMBEDDED, Model
from classer_core.models.sentence_embedding import EmbeddingModel
from classer_core.models.windowed import Window, WindowedModel, WindowScorer


def with_shortlist(scorer: WindowScorer[Window], shortlist: int | None, threads: int | None) -> Model:
    """Return the model of a scorer that reads a text once per label.

    Args:
        scorer: the kind of model.
        shortlist: how many labels it scores per text; None for all of them.
        threads: CPU threads that the embedded model may use.
    """
    if shortlist is None:
        return WindowedModel(scorer)
    return WindowedModel(scorer, shortlist, EmbeddingModel.load(EMBEDDED, threads))
