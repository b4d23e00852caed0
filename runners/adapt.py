"""`adapt: true`: before a job runs, a first look at its own texts makes a version of its classifier that knows them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from classer_core.classifiers import Classifier, shown
from classer_core.errors import JobError, LearningError, Problem
from classer_core.learning import Lesson, learn
from classer_core.models.spec import ModelSpec
from classer_core.saved import ClassifierStore
from classer_core.storage_errors import as_problem

if TYPE_CHECKING:
    from classer_core.models.sentence_embedding import EmbeddingModel
    from pipelines.job import Job

# Of texts drawn over the whole source: more of them change few answers, and each costs what classifying it costs.
LOOK_TEXTS = 2_000

log = logging.getLogger(__name__)


def adapted(job: Job, folder: str, threads: int | None = None) -> Job:
    """Return a job that asks the saved classifier which its own texts have taught; rows name that version.

    The first run of a job makes the version. Later runs of the same labels, source and model use it, so that equal
    records keep their answers. Without `adapt`, or where learning makes answers worse, the job is returned as it is.

    Args:
        job: the job, its paths absolute.
        folder: relative paths in records start here.
        threads: CPU threads that the model may use.

    Raises:
        JobError: the model does not embed texts, or a version can't be read or written.
        ModelLoadError: the model can't be loaded.
    """
    if not job.adapt:
        return job
    classifier = job.request_parser().classifier
    assert classifier is not None  # a job with `adapt` has labels of its own: that is checked when it is loaded
    model = embedding_model(job, threads)
    store = ClassifierStore(job.classifiers)
    name = f"adapted-{_key(job, classifier, model)}"
    with as_problem("classifiers", job.classifiers):
        if name in (known := store.list()).versions:
            return job.asking(known.load(name), known)
        try:
            lesson = lesson_of(job, folder, model, LOOK_TEXTS)
        except LearningError as error:
            log.warning("adapt: not adapted, %s", error)
            return job.model_copy(update={"adapt": False})
        if lesson.objection is not None:
            log.warning("adapt: not adapted, %s", lesson.objection)
            return job.model_copy(update={"adapt": False})
        saved = store.save(name, lesson.classifier)
        return job.asking(saved, store.list())


def lesson_of(
    job: Job, folder: str, model: EmbeddingModel, sample: int, rows: Sequence[tuple[str, str]] = ()
) -> Lesson:
    """Return what a sample of the job's texts, and (text, label) rows if there are any, teach its classifier.

    Raises:
        LearningError: records bring their own labels, or there is too little to learn from.
        JobError: the source is a stream or can't be read.
    """
    classifier, texts = classifier_and_texts(job, folder, sample)
    return learn(model, classifier, texts, rows)


def classifier_and_texts(job: Job, folder: str, sample: int) -> tuple[Classifier, list[str]]:
    """Return a job's classifier, and a sample of its texts.

    Raises:
        LearningError: records bring their own labels.
        JobError: the source is a stream or can't be read.
    """
    from classer_core.documents.expander import expanded_texts
    from pipelines.sample import sample_records

    classifier = job.request_parser().classifier
    if classifier is None:
        raise LearningError("the job has no labels of its own, its records bring them: there is nothing to tune")
    return classifier, [text for text in expanded_texts(sample_records(job, folder, sample)) if text]


def embedding_model(job: Job, threads: int | None = None) -> EmbeddingModel:
    """Return the job's model.

    Raises:
        JobError: it does not embed texts.
        ModelLoadError: it can't be loaded.
    """
    from classer_core.models.loading import load_model
    from classer_core.models.sentence_embedding import EmbeddingModel

    spec = job.model if isinstance(job.model, ModelSpec) else job.model.first
    model = load_model(spec, threads)
    if not isinstance(model, EmbeddingModel):
        message = "does not embed texts, so it can't learn from them"
        raise JobError([Problem("model", shown(spec.id), message, "Name a sentence-embedding model.")])
    return model


def _key(job: Job, classifier: Classifier, model: EmbeddingModel) -> str:
    """Return what tells one first look from another: what is asked, of which model, about which texts."""
    said = "\0".join([classifier.digest, model.weights_id, job.source.model_dump_json()])
    return hashlib.sha256(said.encode()).hexdigest()[:12]
