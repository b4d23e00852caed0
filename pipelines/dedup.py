"""AnswerDistinct: each distinct content of a whole job is read once, on whatever worker it falls to."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics

from classer_core.cached import CachedEngine, Known
from classer_core.classifiers import Classifier
from classer_core.contents import Attachment
from classer_core.records import Record
from pipelines.chunks import CHUNK_ROWS, Chunk
from pipelines.classify import NAMESPACE
from pipelines.fetch import ATTACHMENTS_AT_ONCE
from pipelines.job import Job
from pipelines.known import last_answers, possible_answers

# Fingerprints that a bundle remembers having sent: what occurs a million times is sent once per bundle.
SENT_REMEMBERED = 200_000


class Content(NamedTuple):
    """What travels of a record: its content, and its classifier if that is not the job's. No source of its bytes."""

    record_id: str
    text: str
    attachments: tuple[tuple[str, int, bytes | None], ...]
    classifier: Classifier | None


class AnswerDistinct(beam.PTransform[Any, Any]):
    """Chunks of records in, (fingerprint, Known as bytes) of each distinct content out.

    Bounded. Failures of contents are answers, too; what failed to be read or fetched is ignored. Records with
    `cache: false`, and those that the last output of an `only: stale` job answers, are left out.

    Args:
        job: the job.
        load: loads the engine; called once per worker process, so it must be picklable.
        run: name of this run.
    """

    def __init__(self, job: Job, load: Callable[[], CachedEngine], run: str) -> None:
        super().__init__()
        self._job = job
        self._load = load
        self._run = run

    def expand(self, chunks: Any) -> Any:
        """The first record of each fingerprint, by id: picked where it is, in the combiner, then once for all."""
        return (
            chunks
            | "Pick" >> beam.ParDo(PickDistinct(self._job, self._load, self._run))
            | "OneEach" >> beam.CombinePerKey(first_by_id)
            | "Batches" >> beam.BatchElements(CHUNK_ROWS, CHUNK_ROWS, element_size_fn=_size)
            | "Answer" >> beam.ParDo(AnswerContents(self._job, self._load))
        )


class PickDistinct(beam.DoFn):
    """Chunks in, (fingerprint, content) out, each fingerprint about once per bundle."""

    def __init__(self, job: Job, load: Callable[[], CachedEngine], run: str) -> None:
        self._job = job
        self._load = load
        self._run = run

    def setup(self) -> None:
        """Once per worker."""
        self._engine = self._load()
        self._classifier = self._job.request_parser().classifier
        self._last = last_answers(self._job, self._run)

    def start_bundle(self) -> None:
        """A bundle that is tried again sends everything again."""
        self._sent: set[bytes] = set()

    def process(self, chunk: Chunk) -> Iterable[tuple[bytes, Content]]:
        """Contents not sent before."""
        prints = self._engine.fingerprints(chunk.records)
        new: dict[bytes, Record] = {}
        for print_, record in zip(prints, chunk.records, strict=True):
            if record.cache:
                new.setdefault(print_, record)
        wanted = new.keys() - self._sent
        if self._last is not None:
            wanted -= possible_answers(self._last.get(wanted), new).keys()
        if len(self._sent) > SENT_REMEMBERED:
            self._sent = set()
        self._sent |= new.keys()
        for print_ in wanted:
            record = new[print_]
            attached = tuple((item.field, item.number, item.data) for item in record.attachments)
            own = None if record.classifier == self._classifier else record.classifier
            yield print_, Content(record.id, record.text, attached, own)


def first_by_id(contents: Iterable[Content]) -> Content:
    """One of equal contents, the same one whatever their order."""
    return min(contents, key=lambda content: content.record_id)


class AnswerContents(beam.DoFn):
    """Lists of (fingerprint, content) in, (fingerprint, Known) out."""

    def __init__(self, job: Job, load: Callable[[], CachedEngine]) -> None:
        self._job = job
        self._load = load
        self._model_ms = Metrics.distribution(NAMESPACE, "model_ms")
        self._cache_errors = Metrics.counter(NAMESPACE, "cache_errors")

    def setup(self) -> None:
        """Once per worker."""
        self._engine = self._load()
        self._classifier = self._job.request_parser().classifier

    def process(self, batch: list[tuple[bytes, Content]]) -> Iterable[tuple[bytes, bytes]]:
        """Results and tokens are counted where the answers are joined to their rows."""
        start = time.perf_counter()
        founds = self._engine.answer([self._record(content) for _, content in batch], {})
        if not all(found.cached for found in founds):
            self._model_ms.update(round((time.perf_counter() - start) * 1000))
        self._cache_errors.inc(self._engine.take_errors())
        for (_, content), found in zip(batch, founds, strict=True):
            source_id = None if found.cached else content.record_id
            yield found.fingerprint, pickle.dumps(Known(found.answer, source_id))

    def _record(self, content: Content) -> Record:
        classifier = content.classifier or self._classifier
        assert classifier is not None, "a content without a classifier of its own has the job's"
        attached = [Attachment(field, number, "", data) for field, number, data in content.attachments]  # type: ignore[arg-type]
        return Record(content.record_id, content.text, classifier, attachments=tuple(attached))


def _size(element: tuple[bytes, Content]) -> int:
    """Contents with bytes to open travel in small batches."""
    return min(CHUNK_ROWS, max(1, CHUNK_ROWS // ATTACHMENTS_AT_ONCE * len(element[1].attachments)))
