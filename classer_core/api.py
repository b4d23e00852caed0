"""`classify` and `classify_batch`, with the names and shapes of the hosted API's SDK: only the import differs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from classer_core.abstaining import Abstention
from classer_core.cache import NO_CACHE
from classer_core.cached import load_cached_engine
from classer_core.classifiers import Classifier
from classer_core.errors import RecordError
from classer_core.models import EMBEDDED
from classer_core.models.spec import AnyModelSpec
from classer_core.records import Failure, Record, Result
from classer_core.requests import checked_text, scores_of


@dataclass(frozen=True)
class BatchResponse:
    """The results of a batch.

    Attributes:
        results: one result or failure per text, in the order of the texts.
        total_tokens: tokens that the model read for this batch; cached results count 0.
        latency_ms: wall-clock milliseconds of the call.
    """

    results: list[Result | Failure]
    total_tokens: int
    latency_ms: float


def classify(
    text: str,
    labels: Sequence[str] | None = None,
    *,
    classifier: Classifier | None = None,
    descriptions: Mapping[str, str] | None = None,
    examples: Mapping[str, Sequence[str]] | None = None,
    text_type: str | None = None,
    mode: str = "single",
    threshold: float = 0.5,
    min_confidence: float | None = None,
    fallback_label: str | None = None,
    scores: int | str | None = None,
    cache: bool = True,
    model: str | AnyModelSpec = EMBEDDED,
) -> Result:
    """Return the result of classifying one text.

    Args:
        text: the text.
        labels: 1-200 labels of 1-100 characters; not needed with `classifier`.
        classifier: labels and all that belongs to them in one object, instead of the arguments up to `threshold`. Load
            a saved one with `ClassifierStore(folder).list().load("name@v2")`.
        descriptions: label -> what it means.
        examples: label -> example texts.
        text_type: what a text is, such as "support ticket".
        mode: "single" for exactly one label per text, "multi" for any number.
        threshold: in mode multi, the probability (0-1) from which a label is given.
        min_confidence: the confidence (0-1) below which the result abstains; None to never abstain.
        fallback_label: the label of a result that abstains.
        scores: how many of the best labels the result lists in `scores` with their confidences; "all" for all of them.
        cache: whether an answer that this process has given before is used again.
        model: "embedded", "KIND:ID", a bare ID, or a `ModelSpec`.

    Raises:
        RecordError: an argument is invalid; `code`, `field` and `message` say which and why.
        ModelLoadError: the model can't be loaded.
    """
    classifier = classifier or Classifier.of(labels, descriptions, examples, text_type, mode, threshold)
    abstention = Abstention.of(min_confidence, fallback_label)
    outcome = _classify([text], classifier, abstention, scores_of(scores), cache, model)[0]
    if isinstance(outcome, Failure):
        raise RecordError(outcome.code, outcome.message, outcome.field)
    return outcome


def classify_batch(
    texts: Sequence[str],
    labels: Sequence[str] | None = None,
    *,
    classifier: Classifier | None = None,
    descriptions: Mapping[str, str] | None = None,
    examples: Mapping[str, Sequence[str]] | None = None,
    text_type: str | None = None,
    mode: str = "single",
    threshold: float = 0.5,
    min_confidence: float | None = None,
    fallback_label: str | None = None,
    scores: int | str | None = None,
    cache: bool = True,
    model: str | AnyModelSpec = EMBEDDED,
) -> BatchResponse:
    """Return one result or failure per text, with the ids "0", "1", ...; the arguments are those of `classify`.

    Raises:
        RecordError: an argument other than a text is invalid. An invalid text becomes a `Failure` in its place.
        ModelLoadError: the model can't be loaded.
    """
    classifier = classifier or Classifier.of(labels, descriptions, examples, text_type, mode, threshold)
    abstention = Abstention.of(min_confidence, fallback_label)
    start = time.perf_counter()
    outcomes = _classify(texts, classifier, abstention, scores_of(scores), cache, model)
    return BatchResponse(
        results=outcomes,
        total_tokens=sum(outcome.tokens for outcome in outcomes if isinstance(outcome, Result) and not outcome.cached),
        latency_ms=round((time.perf_counter() - start) * 1000, 3),
    )


def _classify(
    texts: Sequence[str],
    classifier: Classifier,
    abstention: Abstention,
    scores: int,
    cache: bool,
    model: str | AnyModelSpec,
) -> list[Result | Failure]:
    """Return one outcome per text. Answers are cached in memory only: a library call writes no files."""
    outcomes: list[Result | Failure] = []
    records = []
    for position, text in enumerate(texts):
        try:
            records.append(Record(str(position), checked_text(text), classifier, cache=cache, scores=scores))
        except RecordError as error:
            outcomes.append(Failure.of(error, str(position), "read"))
    outcomes += abstention.apply_all(load_cached_engine(NO_CACHE, model, EMBEDDED, "fail").classify(records))
    return sorted(outcomes, key=lambda outcome: int(outcome.id))
