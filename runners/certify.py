"""`guarantee:` of a cascade: a sample of a job's own texts proves from which certainty its first model is trusted."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from classer_core.classifiers import Classifier, shown
from classer_core.errors import JobError, LearningError, Problem
from classer_core.guarantee import Bools, Floats, Goal, Positions, certify
from classer_core.limits import Limits
from classer_core.models import Model, Scores
from classer_core.models.cascade import Cascade, certainty, model_of_limits
from classer_core.models.loading import load_model
from classer_core.models.spec import CascadeSpec, GuaranteeSpec
from classer_core.saved import ClassifierStore
from classer_core.storage_errors import as_problem

if TYPE_CHECKING:
    from pipelines.job import Job

# Texts drawn over the whole source: the first model reads them, and the rows that prove are some of them.
SAMPLED_TEXTS = 4_000
# Fewer rows prove nothing that is worth a cascade.
MIN_TEXTS = 50
GOLD = "gold"

log = logging.getLogger(__name__)


def certified(job: Job, folder: str, threads: int | None = None) -> Job:
    """Return a job that asks the saved classifier whose limits are proven; rows name that version.

    The first run of a job makes the version, with its second model as oracle. Later runs of the same labels, models,
    goal and source use it. Without `guarantee`, or where the job's classifier has limits, the job is returned as it is.

    Args:
        job: the job, its paths absolute.
        folder: relative paths in records start here.
        threads: CPU threads that the models may use.

    Raises:
        JobError: the source is a stream, or a version can't be read or written.
        LearningError: records bring their own labels, several labels may be right, or there are too few texts.
        ModelLoadError: a model can't be loaded.
    """
    if not isinstance(job.model, CascadeSpec) or job.model.guarantee is None:
        return job
    classifier = job.request_parser().classifier
    if classifier is not None and classifier.limits is not None:
        return job
    cascade = loaded_cascade(job, threads)
    store = ClassifierStore(job.classifiers)
    name = f"certified-{_key(job, classifier, cascade)}"
    with as_problem("classifiers", job.classifiers):
        if name in (known := store.list()).versions:
            return job.asking(known.load(name), known)
        proven = proven_classifier(job, folder, cascade)
        log.warning("guarantee: %s", told(proven))
        return job.asking(store.save(name, proven), store.list())


def proven_classifier(job: Job, folder: str, cascade: Cascade, rows: Sequence[tuple[str, str]] = ()) -> Classifier:
    """Return a job's classifier with the limits that its guarantee asks for.

    Args:
        job: the job.
        folder: relative paths in records start here.
        cascade: its models.
        rows: (text, right label); without them, the second model is asked for texts of the job's source.

    Raises:
        LearningError: see `certified`.
        JobError: the source is a stream or can't be read.
    """
    from classer_core.documents.expander import expanded_texts
    from pipelines.sample import sample_records

    assert isinstance(job.model, CascadeSpec)
    classifier = job.request_parser().classifier
    if classifier is None:
        raise LearningError("the job has no labels of its own, its records bring them: there is nothing to certify")
    if not classifier.is_exclusive:
        raise LearningError("a guarantee needs two or more labels, of which exactly one is right (mode: single)")
    texts = [text for text, _ in rows]
    if not rows:
        texts = [text for text in expanded_texts(sample_records(job, folder, SAMPLED_TEXTS)) if text]
    if len(texts) < MIN_TEXTS:
        raise LearningError(f"there are {len(texts)} texts to certify a classifier on: give at least {MIN_TEXTS}")
    goal = _goal(job.model.guarantee or GuaranteeSpec(), len(rows))
    predicted, certainties = _answers(cascade.first, texts, replace(classifier, limits=None))

    def is_right(positions: Sequence[int]) -> Bools:
        if rows:
            return np.array([classifier.labels[predicted[n]] == rows[n][1] for n in positions], bool)
        known, _ = _answers(cascade.then, [texts[n] for n in positions], classifier.as_written())
        # What the oracle can't answer counts as wrong.
        return np.asarray((known == predicted[list(positions)]) & (known >= 0))

    found = certify(predicted, certainties, len(classifier.labels), is_right, goal)
    limits = Limits(
        model=model_of_limits(cascade.first),
        from_certainty=tuple(
            (label, float(limit)) for label, limit in zip(classifier.labels, found.limits, strict=True) if limit <= 1
        ),
        precision=goal.precision,
        confidence=goal.confidence,
        oracle=GOLD if rows else cascade.then.id,
        rows=found.rows,
        proven_on=found.proven_on,
        answered=round(found.answered, 4),
    )
    return replace(classifier, limits=limits)


def loaded_cascade(job: Job, threads: int | None = None) -> Cascade:
    """Return the models of a job.

    Raises:
        JobError: it does not ask for a guarantee.
        ModelLoadError: a model can't be loaded.
    """
    if isinstance(job.model, CascadeSpec) and job.model.guarantee is not None:
        cascade = load_model(job.model, threads)
        assert isinstance(cascade, Cascade)
        return cascade
    remedy = "Set model: {first: embedded, then: KIND:ID, guarantee: {precision: 0.95, confidence: 0.95, budget: 400}}"
    raise JobError([Problem("model", shown(job.model.to_document()), "asks for no guarantee", remedy)])


def told(classifier: Classifier) -> str:
    """Return in words what is proven of a classifier."""
    limits = classifier.limits
    assert limits is not None
    oracle = "gold rows" if limits.oracle == GOLD else limits.oracle
    asked = f"by {limits.proven_on:,} of {limits.rows:,} rows answered by {oracle}"
    if not limits.from_certainty:
        return f"no answers of {limits.model} are proven to be right in {limits.precision:.0%} {asked}: none is trusted"
    return (
        f"{limits.answered:.1%} of the rows are answered by {limits.model}, at least {limits.precision:.0%} of them "
        f"right with a probability of {limits.confidence:.0%}, proven {asked}"
    )


def _goal(guarantee: GuaranteeSpec, n_gold: int) -> Goal:
    return Goal(guarantee.precision, guarantee.confidence, n_gold or guarantee.budget)


def _answers(model: Model, texts: Sequence[str], classifier: Classifier) -> tuple[Positions, Floats]:
    """Return the label (n_texts,) that a model gives to each text, -1 for none, and how sure it is of it."""
    scores = model.score([(text,) for text in texts], [classifier] * len(texts))
    best = [int(one.values.argmax()) if isinstance(one, Scores) else -1 for one in scores]
    sure = [certainty(one, classifier) if isinstance(one, Scores) else 0.0 for one in scores]
    return np.array(best, np.int64), np.array(sure, np.float64)


def _key(job: Job, classifier: Classifier | None, cascade: Cascade) -> str:
    """Return what tells one proof from another: what is asked, of which models, with which goal, about which texts."""
    assert isinstance(job.model, CascadeSpec) and job.model.guarantee is not None
    asked = classifier.digest if classifier is not None else ""
    models = [model_of_limits(cascade.first), cascade.then.id]
    said = "\0".join([asked, *models, job.model.guarantee.model_dump_json(), job.source.model_dump_json()])
    return hashlib.sha256(said.encode()).hexdigest()[:12]
