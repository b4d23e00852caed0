"""ClassifyRecords: classify chunks of records through Beam's RunInference."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler, RunInference

from classer_core.abstaining import Abstention
from classer_core.cached import CachedEngine
from classer_core.records import Outcome, Record, Result
from pipelines import progress
from pipelines.chunks import Chunk, ClassifiedChunk, settle

NAMESPACE = "classer"
# Answers below it are more likely wrong than right.
LIKELY = 0.5


def likelihood(record: Record, result: Result) -> float | None:
    """Return how likely a result is right, 0-1, as its confidence says; None if it has no label."""
    if result.abstained or result.confidence is None:
        return None
    if result.labels is None and len(record.classifier.labels) == 1:  # there or not: one of them is likely
        return max(result.confidence, 1 - result.confidence)
    return result.confidence


class ClassifyRecords(beam.PTransform[Any, Any]):
    """Classifies chunks with one model per worker.

    Bounded or not. Records that the model can't take are in their chunk's failures.

    Args:
        load: loads the engine; called once per worker, so it must be picklable.
        abstention: which answers are not sure enough.
        scored: whether records ask for `scores`.
    """

    def __init__(self, load: Callable[[], CachedEngine], abstention: Abstention, scored: bool = False) -> None:
        super().__init__()
        self._handler = ChunkHandler(load, abstention, scored)

    def expand(self, chunks: Any) -> Any:
        """RunInference shares the model and times it; batches are made inside, by the tokens of each chunk."""
        return chunks | RunInference(self._handler)


class ChunkHandler(ModelHandler[Any, Any, CachedEngine]):
    """Beam's view of the engine. A chunk is already a batch: Beam's batching would only put lists around it."""

    def __init__(self, load: Callable[[], CachedEngine], abstention: Abstention, scored: bool) -> None:
        super().__init__()
        self._load = load
        self._abstention = abstention
        self._scored = scored
        self._records = Metrics.counter(NAMESPACE, "records")
        self._results = Metrics.counter(NAMESPACE, "results")
        self._abstained = Metrics.counter(NAMESPACE, "abstained")
        self._failures = Metrics.counter(NAMESPACE, "failures")
        self._cached = Metrics.counter(NAMESPACE, "cached")
        self._cache_errors = Metrics.counter(NAMESPACE, "cache_errors")
        self._tokens = Metrics.counter(NAMESPACE, "tokens")
        self._answered = Metrics.counter(NAMESPACE, "answered")
        self._confidence = Metrics.counter(NAMESPACE, "confidence")
        self._unsure = Metrics.counter(NAMESPACE, "unsure")
        self._chunk_records = Metrics.distribution(NAMESPACE, "chunk_records")
        self._model_ms = Metrics.distribution(NAMESPACE, "model_ms")

    def load_model(self) -> CachedEngine:
        """The engine, with its models."""
        return self._load()

    def run_inference(
        self, batch: Sequence[Any], model: CachedEngine, inference_args: dict[str, Any] | None = None
    ) -> Iterable[ClassifiedChunk]:
        """One chunk in (as the batch), one out."""
        assert isinstance(batch, Chunk)
        start = time.perf_counter()
        outcomes = self._abstention.apply_all(model.classify(batch.records, batch.known))
        if not all(isinstance(outcome, Result) and outcome.cached for outcome in outcomes):
            self._model_ms.update(round((time.perf_counter() - start) * 1000))
        classified = settle(batch, outcomes, self._scored)
        self._count(outcomes, classified)
        self._estimate(batch.records, outcomes)
        self._cache_errors.inc(model.take_errors())
        return [classified]

    def _estimate(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """Count what estimates the accuracy without labels: confidences, in ten thousandths."""
        pairs = zip(records, outcomes, strict=True)
        sure = [likelihood(record, outcome) for record, outcome in pairs if isinstance(outcome, Result)]
        answered = [value for value in sure if value is not None]
        self._answered.inc(len(answered))
        self._confidence.inc(round(10_000 * sum(answered)))
        self._unsure.inc(len(sure) - len(answered) + sum(value < LIKELY for value in answered))

    def _count(self, outcomes: Sequence[Outcome], classified: ClassifiedChunk) -> None:
        results, failures = classified.results.num_rows, classified.failures.num_rows
        self._records.inc(results + failures)
        self._results.inc(results)
        self._failures.inc(failures)
        answers = [outcome for outcome in outcomes if isinstance(outcome, Result)]
        read = [answer.tokens for answer in answers if not answer.cached]
        self._abstained.inc(sum(bool(answer.abstained) for answer in answers))
        self._tokens.inc(sum(read))  # what a model has read in this run
        self._cached.inc(len(answers) - len(read))
        self._chunk_records.update(results + failures)
        for code, count in Counter(classified.failures.column("code").to_pylist()).items():
            Metrics.counter(NAMESPACE, f"failures.{code}").inc(count)
        # A record may bring labels of its own: only saved classifiers, which are few, are told apart.
        for name, count in Counter(answer.classifier.partition(":")[0] for answer in answers).items():
            Metrics.counter(NAMESPACE, f"classifier.{name}").inc(count)
        progress.advance(results + failures)

    def should_skip_batching(self) -> bool:
        """Chunks come ready."""
        return True

    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """Bytes of text; Beam's default pickles the whole batch to find out."""
        chunk: Any = batch
        return sum(len(record.text) for record in chunk.records)

    def get_metrics_namespace(self) -> str:
        """Where RunInference's own metrics go."""
        return NAMESPACE
