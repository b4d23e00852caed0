"""The library's two calls; the shapes of the hosted API's own SDK, so that code moves over by its import."""

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
from classer_core.records import Failure, Record, Result
from classer_core.requests import checked_text


@dataclass(frozen=True)
class BatchResponse:
    """Answers in the order of the texts; a text that got none has its Failure there. Tokens are those read now."""

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
    cache: bool = True,
    model: str = EMBEDDED,
) -> Result:
    """One text and its labels, or a classifier, in; the answer out.

    `cache=False` reads a text again that this process has answered. `ClassifierStore(folder).list().load("name@v2")` is
    a saved classifier.

    Raises:
        RecordError: the request breaks a rule; `code`, `field` and `message` say which.
        ModelLoadError: the model can't be loaded.
    """
    classifier = classifier or Classifier.of(labels, descriptions, examples, text_type, mode, threshold)
    abstention = Abstention.of(min_confidence, fallback_label)
    outcome = _classify([text], classifier, abstention, cache, model)[0]
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
    cache: bool = True,
    model: str = EMBEDDED,
) -> BatchResponse:
    """Texts and their labels, or a classifier, in; one result or failure per text out, with ids "0", "1", ...

    Raises:
        RecordError: labels or another field of the whole batch break a rule.
        ModelLoadError: the model can't be loaded.
    """
    classifier = classifier or Classifier.of(labels, descriptions, examples, text_type, mode, threshold)
    abstention = Abstention.of(min_confidence, fallback_label)
    start = time.perf_counter()
    outcomes = _classify(texts, classifier, abstention, cache, model)
    return BatchResponse(
        results=outcomes,
        total_tokens=sum(one.tokens for one in outcomes if isinstance(one, Result) and not one.cached),
        latency_ms=round((time.perf_counter() - start) * 1000, 3),
    )


def _classify(
    texts: Sequence[str], classifier: Classifier, abstention: Abstention, cache: bool, model: str
) -> list[Result | Failure]:
    """Answers are shared within this process; a library writes no files that nobody asked for."""
    outcomes: list[Result | Failure] = []
    records = []
    for position, text in enumerate(texts):
        try:
            records.append(Record(str(position), checked_text(text), classifier, cache=cache))
        except RecordError as error:
            outcomes.append(Failure.of(error, str(position), "read"))
    outcomes += abstention.apply_all(load_cached_engine(NO_CACHE, model, EMBEDDED, "fail").classify(records))
    return sorted(outcomes, key=lambda outcome: int(outcome.id))
