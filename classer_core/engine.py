"""Records in, one result or failure each out: what `classify()` and the pipeline both call."""

from __future__ import annotations

import time
from collections.abc import Sequence

from classer_core.classifiers import Classifier
from classer_core.errors import FailureCode, RecordError
from classer_core.models import Model, Scores
from classer_core.records import Failure, Outcome, Record, Result
from classer_core.scoring import above_threshold, choose

# Scored when every record of a batch failed: a model that can't read this either is broken, not the records.
PROBE_TEXT, PROBE_CLASSIFIER = "hello", Classifier(("greeting",))


class Engine:
    """Classifies records with one model.

    Args:
        model: what scores texts against labels.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def classify(self, records: Sequence[Record]) -> list[Outcome]:
        """One outcome per record, in the same order.

        A record that breaks the model fails alone, with `model_failed`.

        Raises:
            Exception: the model fails whatever it is given.
        """
        if not records:
            return []
        start = time.perf_counter()
        scored = self._score(records)
        elapsed_ms = (time.perf_counter() - start) * 1000
        tokens = sum(scores.tokens for scores in scored if isinstance(scores, Scores))
        return [
            Failure.of(scores, record.id, "classify")
            if isinstance(scores, RecordError)
            else self._result(record, scores, elapsed_ms * scores.tokens / max(tokens, 1))
            for record, scores in zip(records, scored, strict=True)
        ]

    def _result(self, record: Record, scores: Scores, latency_ms: float) -> Result:
        classifier = record.classifier
        if classifier.mode == "multi":
            label, labels = None, above_threshold(scores.values, classifier)
            confidence = labels[0].confidence if labels else None
        else:
            labels = None
            label, confidence = choose(scores.values, classifier)
        return Result(
            id=record.id,
            label=label,
            labels=labels,
            confidence=confidence,
            tokens=scores.tokens,
            visual_tokens=None,
            latency_ms=round(latency_ms, 3),
            cached=False,
            classifier=classifier.name,
            model=self.model.id,
            coverage=scores.coverage,
        )

    def _score(self, records: Sequence[Record]) -> list[Scores | RecordError]:
        scored = self._score_halving(records)
        if all(isinstance(scores, RecordError) and scores.code == FailureCode.MODEL_FAILED for scores in scored):
            self.model.score([PROBE_TEXT], [PROBE_CLASSIFIER])
        return scored

    def _score_halving(self, records: Sequence[Record]) -> list[Scores | RecordError]:
        """Scores of all records; where the model raises, halves are tried until the record at fault is alone."""
        try:
            return self.model.score([record.text for record in records], [record.classifier for record in records])
        except MemoryError:
            raise
        except Exception as error:  # whatever a model raises on a record is that record's failure
            if len(records) == 1:
                message = f"the model could not read this record: {type(error).__name__}: {str(error)[:200]}"
                return [RecordError(FailureCode.MODEL_FAILED, message)]
        middle = len(records) // 2
        return self._score_halving(records[:middle]) + self._score_halving(records[middle:])
