"""Engine: classify records into one result or failure each. `classify()` and the pipeline both call it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from classer_core.classifiers import Classifier
from classer_core.contents import TEXT_PLACE, Content, Page, PixelNeeds
from classer_core.documents.expander import Expander
from classer_core.documents.office import Office
from classer_core.errors import FailureCode, ModelLoadError, RecordError, StorageError
from classer_core.fingerprint import configuration, fingerprint
from classer_core.models import Model, Scores
from classer_core.models.combined import CombinedModel
from classer_core.models.document_kinds import DocumentKinds
from classer_core.models.loading import load_document_kinds, load_model, load_visual_model
from classer_core.models.spec import AnyModelSpec, ModelSpec
from classer_core.models.visual import VisualModel
from classer_core.records import Answer, Failure, Outcome, Record, Result
from classer_core.scoring import above_threshold, best, choose

# Scored when every record of a batch failed: if this fails as well, the model is broken and not the records.
PROBE_CONTENT, PROBE_CLASSIFIER = Content([Page(TEXT_PLACE, "hello")]), Classifier(("greeting",))

CONFIGURATIONS_KEPT = 4_096


class Engine:
    """Classifies records with text and attachments, with one set of models. Thread-safe.

    Args:
        model: scores texts against labels.
        visual: reads text in pictures and scores pictures; None to ignore pixels.
        truncate: whether the first pages of a long document are read; otherwise long documents fail.
        kinds: scores labels by the kind of a document; None to judge documents by what they are about.
    """

    def __init__(
        self,
        model: Model,
        visual: VisualModel | None = None,
        truncate: bool = False,
        kinds: DocumentKinds | None = None,
    ) -> None:
        self.model = CombinedModel(model, visual, kinds)
        self._pixel_needs = visual.pixel_needs if visual is not None else PixelNeeds.nothing()
        self._truncate = truncate
        self._lock = threading.Lock()
        self._expander: Expander | None = None
        self._configurations: dict[tuple[str, bool, int], bytes] = {}

    def classify(self, records: Sequence[Record]) -> list[Outcome]:
        """Return one outcome per record, in the same order. Attachments must have their bytes.

        A record that the model raises on becomes a failure `model_failed`; the others are not affected.

        Raises:
            Exception: the model fails on any input.
        """
        fingerprints = self.fingerprints(records)
        return [
            outcome_of(record, answer, digest, record.fetch_ms + answer_ms, cached=False)
            for record, digest, (answer, answer_ms) in zip(records, fingerprints, self.answer(records), strict=True)
        ]

    def fingerprints(self, records: Sequence[Record]) -> list[bytes]:
        """Return the fingerprint of each record. Attachments must have their bytes; they are not opened."""
        return [
            fingerprint(record, self._configuration(record.classifier, bool(record.attachments), record.scores_listed))
            for record in records
        ]

    def answer(self, records: Sequence[Record]) -> list[tuple[Answer | Failure, float]]:
        """Return the answer to each record, or its failure, and the milliseconds it took. No cache is used.

        Raises:
            Exception: the model fails on any input.
        """
        answers: list[tuple[Answer | Failure, float] | None] = [None] * len(records)
        expanded: list[tuple[int, Content, float]] = []
        for position, (content, expand_ms) in enumerate(self._expand(records)):
            if isinstance(content, RecordError):
                answers[position] = Failure.of(content, records[position].id, "expand"), expand_ms
            else:
                expanded.append((position, content, expand_ms))
        start = time.perf_counter()
        classifiers = [records[position].classifier for position, _, _ in expanded]
        scored = self._score([content for _, content, _ in expanded], classifiers)
        elapsed_ms = (time.perf_counter() - start) * 1000
        tokens = sum(scores.tokens for scores in scored if isinstance(scores, Scores))
        for (position, content, expand_ms), scores in zip(expanded, scored, strict=True):
            record = records[position]
            if isinstance(scores, RecordError):
                answers[position] = Failure.of(scores, record.id, "classify"), expand_ms
            else:
                share_ms = elapsed_ms * scores.tokens / max(tokens, 1)
                answers[position] = self._answer(record, content, scores), expand_ms + share_ms
        return [answer for answer in answers if answer is not None]

    def page_counts(self, records: Sequence[Record]) -> list[int]:
        """Return the number of pages and pictures of each record; 0 if it has none, or can't be opened."""
        return [
            len(content.pages) if isinstance(content, Content) and record.attachments else 0
            for record, (content, _) in zip(records, self._expand(records), strict=True)
        ]

    def _configuration(self, classifier: Classifier, attached: bool, scores: int) -> bytes:
        digest = self._configurations.get((classifier.digest, attached, scores))
        if digest is None:
            reading = self.model.text.id
            if attached:
                visual = self.model.visual.id if self.model.visual is not None else "none"
                # LibreOffice breaks and draws DOCX pages differently.
                kinds = f", {self.model.kinds.id}" if self.model.kinds is not None else ""
                reading += f" + {visual}, truncate: {self._truncate}, office: {Office().is_installed}{kinds}"
            digest = configuration(classifier, reading, scores)
            if len(self._configurations) >= CONFIGURATIONS_KEPT:
                self._configurations = {}
            self._configurations[classifier.digest, attached, scores] = digest
        return digest

    def close(self) -> None:
        """End the processes that expand documents; the next document starts new ones."""
        with self._lock:
            expander, self._expander = self._expander, None
        if expander is not None:
            expander.close()

    def _expand(self, records: Sequence[Record]) -> list[tuple[Content | RecordError, float]]:
        """Return the content of each record, or why it has none, and its share of the milliseconds it took."""
        attached = [record for record in records if record.attachments]
        if not attached:
            return [(Content([Page(TEXT_PLACE, record.text)]), 0.0) for record in records]
        with self._lock:
            if self._expander is None:
                self._expander = Expander(self._pixel_needs, self._truncate)
        start = time.perf_counter()
        expanded = iter(self._expander.expand(attached))
        share_ms = (time.perf_counter() - start) * 1000 / len(attached)
        return [
            (next(expanded), share_ms) if record.attachments else (Content([Page(TEXT_PLACE, record.text)]), 0.0)
            for record in records
        ]

    def _answer(self, record: Record, content: Content, scores: Scores) -> Answer:
        classifier = record.classifier
        if classifier.mode == "multi":
            label, labels = None, above_threshold(scores.values, classifier)
            confidence = labels[0].confidence if labels else None
        else:
            labels = None
            label, confidence = choose(scores.values, classifier)
        return Answer(
            label=label,
            labels=labels,
            confidence=confidence,
            tokens=scores.tokens,
            visual_tokens=scores.visual_tokens,
            model=self.model.id_for(scores),
            coverage=round(content.coverage, 4),
            evidence=content.pages[scores.strongest].place if record.attachments else None,
            scores=best(scores.values, classifier, record.scores) if record.scores else None,
        )

    def _score(self, contents: Sequence[Content], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        scored = self._score_halving(contents, classifiers)
        failed = [isinstance(scores, RecordError) and scores.code == FailureCode.MODEL_FAILED for scores in scored]
        if failed and all(failed):
            self.model.score([PROBE_CONTENT], [PROBE_CLASSIFIER])
        return scored

    def _score_halving(
        self, contents: Sequence[Content], classifiers: Sequence[Classifier]
    ) -> list[Scores | RecordError]:
        """Return the scores of all contents; if the model raises, score the halves, down to the content at fault."""
        if not contents:
            return []
        try:
            return self.model.score(contents, classifiers)
        except (MemoryError, ModelLoadError, StorageError):
            raise
        except Exception as error:  # whatever a model raises on a record is that record's failure
            if len(contents) == 1:
                message = f"the model failed on this record: {type(error).__name__}: {str(error)[:200]}"
                return [RecordError(FailureCode.MODEL_FAILED, message)]
        middle = len(contents) // 2
        first = self._score_halving(contents[:middle], classifiers[:middle])
        return first + self._score_halving(contents[middle:], classifiers[middle:])


def outcome_of(
    record: Record, answer: Answer | Failure, fingerprint: bytes, latency_ms: float, cached: bool
) -> Outcome:
    """Return the outcome of a record, given the answer to its content.

    Args:
        record: the record.
        answer: the answer to the record's content, or to the same content of another record.
        fingerprint: the record's.
        latency_ms: milliseconds that this record took.
        cached: whether the answer was found without reading this record.
    """
    if isinstance(answer, Failure):
        return replace(answer, id=record.id)
    return Result(
        id=record.id,
        label=answer.label,
        labels=answer.labels,
        confidence=answer.confidence,
        tokens=answer.tokens,
        visual_tokens=answer.visual_tokens,
        latency_ms=round(latency_ms, 3),
        cached=cached,
        classifier=record.classifier.name,
        model=answer.model,
        coverage=answer.coverage,
        fingerprint=fingerprint.hex(),
        evidence=answer.evidence,
        scores=answer.scores,
    )


@lru_cache(maxsize=2)
def load_engine(
    model: str | AnyModelSpec, visual_model: str | ModelSpec, page_overflow: str, threads: int | None = None
) -> Engine:
    """Return the engine for the models that a job names, one copy per process.

    Args:
        model: the job's `model`: `embedded`, `KIND:ID`, a bare ID, or all of its settings.
        visual_model: the job's `visual_model`; also `none`.
        page_overflow: `truncate` to read the first pages of long documents, `fail` to fail them.
        threads: CPU threads of the models (default: all cores).

    Raises:
        ModelLoadError: a model can't be loaded.
    """
    text_model = load_model(model, threads)
    visual = load_visual_model(visual_model, text_model, threads)
    kinds = load_document_kinds(text_model)
    return Engine(text_model, visual, truncate=page_overflow == "truncate", kinds=kinds)
