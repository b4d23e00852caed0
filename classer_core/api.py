"""`classify`, `tag` and their batches, with the names and shapes of the hosted API's SDK: only the import differs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from typing_extensions import Unpack

from classer_core.abstaining import Abstention
from classer_core.cache import NO_CACHE
from classer_core.cached import load_cached_engine
from classer_core.classifiers import Classifier
from classer_core.contents import Attachment
from classer_core.errors import FailureCode, RecordError
from classer_core.models import EMBEDDED
from classer_core.models.spec import AnyModelSpec
from classer_core.records import Failure, Record, Result
from classer_core.requests import attachments_of, checked_priority, checked_text, scores_of
from classer_core.saved import ClassifierStore

Source = str | bytes | Path
CLASSIFIERS_FOLDER = "classifiers"


class Question(TypedDict, total=False):
    """What `classify` and the others take beside text and labels.

    Attributes:
        image: one picture or up to 20. A string is an `https://` URL or base64, never a path: give a `Path`, or bytes.
        file: a PDF or DOCX, given as an image is.
        classifier: instead of labels and all that describes them: a `Classifier`, or the name of a saved one, as
            "tickets" or "tickets@v2".
        classifiers: folder or URL of the saved classifiers (default: `classifiers`).
        descriptions: label -> what it means.
        examples: label -> example texts.
        text_type: what a text is, such as "support ticket".
        mode: "single" for exactly one label per text, "multi" for any number, as `tag` does.
        threshold: in mode multi, the probability (0-1) from which a label is given (default: 0.5).
        min_confidence: the confidence (0-1) below which the result abstains (default: never).
        fallback_label: the label of a result that abstains.
        scores: how many of the best labels the result lists in `scores` with their confidences; "all" for all of them.
        priority: "standard" or "fast", as the hosted API takes it; a call in this process has nothing to overtake.
        cache: whether an answer that this process has given before is used again (default: True).
        model: "embedded" (the default), "KIND:ID", a bare ID, or a `ModelSpec`.
    """

    image: Source | Sequence[Source] | None
    file: Source | None
    classifier: Classifier | str | None
    classifiers: str
    descriptions: Mapping[str, str] | None
    examples: Mapping[str, Sequence[str]] | None
    text_type: str | None
    mode: str
    threshold: float
    min_confidence: float | None
    fallback_label: str | None
    scores: int | str | None
    priority: str
    cache: bool
    model: str | AnyModelSpec


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


def classify(text: str | None = None, labels: Sequence[str] | None = None, **question: Unpack[Question]) -> Result:
    """Return the result of classifying one text, picture or document.

    Args:
        text: the text; may be left out beside `image` or `file`.
        labels: 1-200 labels of 1-100 characters; not needed with `classifier`.
        question: all else; see `Question`.

    Raises:
        RecordError: an argument is invalid; `code`, `field` and `message` say which and why.
        ModelLoadError: the model can't be loaded.
        TypeError: there is no argument of this name.
    """
    outcome = _answer([text], labels, question)[0]
    if isinstance(outcome, Failure):
        raise RecordError(outcome.code, outcome.message, outcome.field)
    return outcome


def tag(text: str | None = None, labels: Sequence[str] | None = None, **question: Unpack[Question]) -> Result:
    """Return every label that one text, picture or document has, in `labels` of the result; as `classify`."""
    return classify(text, labels, **_multi(question))


def classify_batch(
    texts: Sequence[str | None], labels: Sequence[str] | None = None, **question: Unpack[Question]
) -> BatchResponse:
    """Return one result or failure per text, with the ids "0", "1", ...; the arguments are those of `classify`.

    `image` and `file` belong to every text.

    Raises:
        RecordError: an argument other than a text is invalid. An invalid text becomes a `Failure` in its place.
        ModelLoadError: the model can't be loaded.
        TypeError: there is no argument of this name.
    """
    start = time.perf_counter()
    outcomes = _answer(texts, labels, question)
    return BatchResponse(
        results=outcomes,
        total_tokens=sum(outcome.tokens for outcome in outcomes if isinstance(outcome, Result) and not outcome.cached),
        latency_ms=round((time.perf_counter() - start) * 1000, 3),
    )


def tag_batch(
    texts: Sequence[str | None], labels: Sequence[str] | None = None, **question: Unpack[Question]
) -> BatchResponse:
    """Return every label that each text has; as `classify_batch`."""
    return classify_batch(texts, labels, **_multi(question))


def _multi(question: Question) -> Question:
    return {**question, "mode": "multi"}


def _answer(texts: Sequence[str | None], labels: Sequence[str] | None, question: Question) -> list[Result | Failure]:
    """Return one outcome per text. Answers are cached in memory only: a library call writes no files."""
    if unknown := sorted(question.keys() - Question.__annotations__.keys()):
        raise TypeError(f"there is no argument {unknown[0]!r}; there are {', '.join(Question.__annotations__)}")
    classifier = _classifier(labels, question)
    abstention = Abstention.of(question.get("min_confidence"), question.get("fallback_label"))
    scores, priority = scores_of(question.get("scores")), checked_priority(question.get("priority") or "standard")
    attachments = _attachments(question.get("image"), question.get("file"))
    outcomes: list[Result | Failure] = []
    records = []
    for position, text in enumerate(texts):
        try:
            written = "" if attachments and not (text or "").strip() else checked_text(text)
        except RecordError as error:
            outcomes.append(Failure.of(error, str(position), "read"))
        else:
            cache = question.get("cache", True) is not False
            records.append(Record(str(position), written, classifier, priority, cache, attachments, scores=scores))
    engine = load_cached_engine(NO_CACHE, question.get("model", EMBEDDED), EMBEDDED, "fail")
    outcomes += abstention.apply_all(engine.classify(_fetched(records)))
    return sorted(outcomes, key=lambda outcome: int(outcome.id))


def _classifier(labels: Sequence[str] | None, question: Question) -> Classifier:
    classifier = question.get("classifier")
    if classifier is not None:
        if labels:
            message = "labels and classifier are both given: give one of them"
            raise RecordError(FailureCode.CLASSIFIER_INVALID, message, "classifier")
        return _chosen(classifier, question)
    return Classifier.of(
        labels,
        question.get("descriptions"),
        question.get("examples"),
        question.get("text_type"),
        question.get("mode", "single"),
        question.get("threshold", 0.5),
    )


def _chosen(classifier: Classifier | str, question: Question) -> Classifier:
    """Return a classifier, or the saved one of this name, with the mode and the threshold that a call asks for."""
    if isinstance(classifier, str):
        classifier = ClassifierStore(question.get("classifiers", CLASSIFIERS_FOLDER)).list().load(classifier)
    asked: dict[str, Any] = {name: value for name, value in question.items() if name in ("mode", "threshold")}
    fields: dict[str, Any] = {**classifier.to_mapping(), **asked}
    checked = Classifier.of(**fields)
    if checked.mode == classifier.mode:
        return replace(classifier, threshold=checked.threshold)
    return checked.as_written()  # it was tuned and certified for the other mode


def _attachments(image: Source | Sequence[Source] | None, file: Source | None) -> tuple[Attachment, ...]:
    images = [image] if isinstance(image, str | bytes | Path) else image
    read = [_content(one, "image") for one in images] if images is not None else None
    return attachments_of(read, _content(file, "file") if file is not None else None)


def _content(source: Source, field: str) -> str | bytes:
    """Return a source with the bytes of a file in place of its path."""
    if not isinstance(source, Path):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        code = FailureCode.IMAGE_INVALID if field == "image" else FailureCode.FILE_INVALID
        raise RecordError(code, f"{field}: {source} can't be read: {error.strerror}", field) from error


def _fetched(records: list[Record]) -> list[Record]:
    """Return records whose attachments have their bytes; URLs are fetched once for all of them."""
    if any(record.attachments for record in records):
        from classer_core.fetching import Fetcher, FetchRules
        from classer_core.fetching.attached import fetch_attachments

        with closing(Fetcher(FetchRules())) as fetcher:
            fetch_attachments(fetcher, records)
    return records
