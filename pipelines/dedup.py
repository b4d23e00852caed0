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
from classer_core.requests import RequestParser
from pipelines.chunks import CHUNK_ROWS, Chunk
from pipelines.classify import NAMESPACE
from pipelines.fetch import ATTACHMENTS_AT_ONCE
from pipelines.known import LastOutput, possible_answers
from pipelines.requests import Requests

# Fingerprints that a bundle remembers having sent: what occurs a million times is sent once per bundle.
SENT_REMEMBERED = 200_000
CONTENTS, LAST = "contents", "last"


class DistinctContent(NamedTuple):
    """The part of a record that travels: its content, and its classifier if it is not the job's."""

    record_id: str
    text: str
    attachments: tuple[tuple[str, int, bytes | None], ...]
    classifier: Classifier | None


class AnswerDistinct(beam.PTransform[Any, Any]):
    """Answer each distinct content once, and return (fingerprint, Known as bytes) of each.

    Bounded. Failures of contents are answers, too; what failed to be read or fetched is ignored. Records with
    `cache: false`, and those that the last output of an `only: stale` job answers, are left out.

    Args:
        requests: how rows become records.
        load: loads the engine; called once per worker process, so it must be picklable.
        last: the last run's output, whose answers are used again; None for none.
        last_rows: its (fingerprint, Known as bytes), on runners with other machines: what is answered there is left out
            by a join, and not by a table in each process.
    """

    def __init__(
        self, requests: Requests, load: Callable[[], CachedEngine], last: LastOutput | None, last_rows: Any = None
    ) -> None:
        super().__init__()
        self._pick = PickDistinctFn(requests, load, last if last_rows is None else None)
        self._last_rows = last_rows
        self._leave = LeaveAnsweredFn(requests)
        self._answer = AnswerContentsFn(requests, load)

    def expand(self, chunks: Any) -> Any:
        """Take the first record of each fingerprint, by id: picked where it is, in the combiner, then once for all."""
        contents = chunks | "Pick" >> beam.ParDo(self._pick) | "OneEach" >> beam.CombinePerKey(first_by_id)
        if self._last_rows is not None:
            joined = {CONTENTS: contents, LAST: self._last_rows} | "ByFingerprint" >> beam.CoGroupByKey()
            contents = joined | "LeaveAnswered" >> beam.ParDo(self._leave)
        return (
            contents
            | "Batches" >> beam.BatchElements(CHUNK_ROWS, CHUNK_ROWS, element_size_fn=_size)
            | "Answer" >> beam.ParDo(self._answer)
        )


class PickDistinctFn(beam.DoFn):
    """Yield (fingerprint, content) of a chunk's records, each fingerprint about once per bundle."""

    def __init__(self, requests: Requests, load: Callable[[], CachedEngine], last: LastOutput | None) -> None:
        self._requests = requests
        self._load = load
        self._last_output = last

    def setup(self) -> None:
        """Load the engine, which all bundles share."""
        self._engine = self._load()
        self._parser = self._requests.parser()
        self._last = self._last_output.table() if self._last_output else None

    def start_bundle(self) -> None:
        """A bundle that is tried again sends everything again."""
        self._sent: set[bytes] = set()

    def process(self, chunk: Chunk) -> Iterable[tuple[bytes, DistinctContent]]:
        """Contents not sent before."""
        fingerprints = self._engine.fingerprints(chunk.records)
        new: dict[bytes, Record] = {}
        for fingerprint, record in zip(fingerprints, chunk.records, strict=True):
            if record.cache:
                new.setdefault(fingerprint, record)
        missing = new.keys() - self._sent
        if self._last is not None:
            missing -= possible_answers(self._last.get(missing), new).keys()
        if len(self._sent) > SENT_REMEMBERED:
            self._sent = set()
        self._sent |= new.keys()
        for fingerprint in missing:
            record = new[fingerprint]
            attached = tuple((item.field, item.number, item.data) for item in record.attachments)
            own = None if record.classifier == self._parser.classifier else record.classifier
            yield fingerprint, DistinctContent(record.id, record.text, attached, own)


def first_by_id(contents: Iterable[DistinctContent]) -> DistinctContent:
    """One of equal contents, the same one whatever their order."""
    return min(contents, key=lambda content: content.record_id)


class LeaveAnsweredFn(beam.DoFn):
    """Yield the contents that the last output does not answer."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def setup(self) -> None:
        """Make the parser, which knows the job's classifier: contents don't carry it along."""
        self._parser = self._requests.parser()

    def process(self, element: tuple[bytes, Any]) -> Iterable[tuple[bytes, DistinctContent]]:
        """One fingerprint."""
        fingerprint, groups = element
        last = min(groups[LAST], default=None)
        for content in groups[CONTENTS]:
            known = {} if last is None else {fingerprint: pickle.loads(last)}
            if not possible_answers(known, {fingerprint: record_of(content, self._parser)}):
                yield fingerprint, content


class AnswerContentsFn(beam.DoFn):
    """Answer lists of (fingerprint, content) as (fingerprint, Known)."""

    def __init__(self, requests: Requests, load: Callable[[], CachedEngine]) -> None:
        self._requests = requests
        self._load = load
        self._model_ms = Metrics.distribution(NAMESPACE, "model_ms")
        self._cache_errors = Metrics.counter(NAMESPACE, "cache_errors")

    def setup(self) -> None:
        """Load the engine, which all bundles share."""
        self._engine = self._load()
        self._parser = self._requests.parser()

    def process(self, batch: list[tuple[bytes, DistinctContent]]) -> Iterable[tuple[bytes, bytes]]:
        """Results and tokens are counted where the answers are joined to their rows."""
        start = time.perf_counter()
        answers = self._engine.answer([record_of(content, self._parser) for _, content in batch], {})
        if not all(answer.cached for answer in answers):
            self._model_ms.update(round((time.perf_counter() - start) * 1000))
        self._cache_errors.inc(self._engine.take_errors())
        for (_, content), answer in zip(batch, answers, strict=True):
            source_id = None if answer.cached else content.record_id
            yield answer.fingerprint, pickle.dumps(Known(answer.answer, source_id))


def record_of(content: DistinctContent, parser: RequestParser) -> Record:
    """Return the record that a content stands for, in the job that the parser is of."""
    classifier = content.classifier or parser.classifier
    assert classifier is not None, "a content without a classifier of its own has the job's"
    attached = [Attachment(field, number, "", data) for field, number, data in content.attachments]  # type: ignore[arg-type]
    return Record(content.record_id, content.text, classifier, attachments=tuple(attached), scores=parser.scores)


def _size(element: tuple[bytes, DistinctContent]) -> int:
    """Contents with bytes to open travel in small batches."""
    return min(CHUNK_ROWS, max(1, CHUNK_ROWS // ATTACHMENTS_AT_ONCE * len(element[1].attachments)))
