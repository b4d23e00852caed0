"""JoinAnswers: chunks of records in, the same with the answers that other steps or the last run have found.

Where rows are merged into a table, records that it has as they would be written are left out.
"""

from __future__ import annotations

import logging
import pickle
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.metrics import Metrics

from classer_core.cache.sqlite import SqliteCache
from classer_core.cached import CachedEngine, Known
from classer_core.kept import is_answer_to
from classer_core.records import Answer, LabelConfidence, Record
from pipelines.chunks import Chunk
from pipelines.classify import NAMESPACE
from pipelines.damage import DamagedFileError, decoding
from pipelines.job import Job
from pipelines.job.sections import BigQueryOutput
from pipelines.shared import Shared
from pipelines.storage import open_file
from pipelines.writers.publish import output_files

log = logging.getLogger(__name__)

ROWS_TOGETHER = 10_000
FOR_EVER_S, NO_LIMIT_BYTES = 10**9, 1 << 62
ANSWER_COLUMNS = ["label", "labels", "confidence", "tokens", "visual_tokens", "model", "coverage", "evidence"]


class JoinAnswers(beam.DoFn):
    """Chunks of records in, the same with `known` out.

    Args:
        job: the job; `only: stale` takes the answers of its last output.
        load: loads the engine, for the fingerprints; called once per worker process, so it must be picklable.
        run: name of this run.
    """

    def __init__(self, job: Job, load: Callable[[], CachedEngine], run: str) -> None:
        self._job = job
        self._load = load
        self._run = run

    def setup(self) -> None:
        """Once per worker."""
        self._engine = self._load()
        self._last = last_answers(self._job, self._run)
        self._distinct: KnownTable | None = None
        self._key = merge_key(self._job)

    def process(self, chunk: Chunk, distinct: Iterable[tuple[bytes, bytes]] | None = None) -> Iterable[Chunk]:
        """`distinct`: what AnswerDistinct has found."""
        if distinct is not None and self._distinct is None:
            self._distinct = shared_table(f"distinct {self._run}", lambda: distinct)
        in_order = self._engine.fingerprints(chunk.records)
        if self._key and self._last is not None:
            chunk, in_order = self._without_current(chunk, in_order, self._last)
        prints = set(in_order)
        if self._last is not None:
            records = dict(zip(in_order, chunk.records, strict=True))
            chunk.known = {**chunk.known, **possible_answers(self._last.get(prints), records)}
        if self._distinct is not None:
            chunk.known = {**chunk.known, **self._distinct.get(prints)}
        yield chunk

    def _without_current(self, chunk: Chunk, prints: list[bytes], last: KnownTable) -> tuple[Chunk, list[bytes]]:
        """Rows that the table has as they would be written stay there, and cost nothing."""
        from pipelines.bigquery.current import chunk_keys, current_key

        keys = [current_key(*item) for item in zip(chunk_keys(chunk, self._key), prints, strict=True)]
        current = last.get(set(keys))
        stale = [row for row, key in enumerate(keys) if key not in current or not chunk.records[row].cache]
        Metrics.counter(NAMESPACE, "current").inc(len(chunk) - len(stale))
        records, rows = [chunk.records[row] for row in stale], chunk.rows.take(pa.array(stale, pa.int32()))
        return replace(chunk, records=records, rows=rows), [prints[row] for row in stale]


class KnownTable:
    """Answers by fingerprint, on this machine's disk: they may be more than fit in memory.

    Args:
        rows: (fingerprint, Known as bytes).
    """

    def __init__(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        folder = tempfile.mkdtemp(prefix="classer-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._file = SqliteCache(Path(folder) / "answers", FOR_EVER_S, NO_LIMIT_BYTES)
        left = iter(rows)
        while part := dict(islice(left, ROWS_TOGETHER)):
            self._file.put(part)

    def get(self, prints: Set[bytes]) -> dict[bytes, Known]:
        """The answers there are."""
        return {print_: pickle.loads(known) for print_, known in self._file.get(prints).items()}


_tables: Shared[KnownTable] = Shared()


def shared_table(name: str, rows: Callable[[], Iterable[tuple[bytes, bytes]]]) -> KnownTable:
    """One table per process and name, as long as anybody uses it."""
    return _tables.get(name, lambda: KnownTable(rows()))


def possible_answers(known: Mapping[bytes, Known], records: Mapping[bytes, Record]) -> dict[bytes, Known]:
    """Return what may be an answer to the record of its fingerprint: rows of an output can be edited by anybody."""
    found = {
        print_: item
        for print_, item in known.items()
        if isinstance(item.answer, Answer) and is_answer_to(item.answer, records[print_])
    }
    if len(found) < len(known):
        log.warning(
            "%d rows of the last output are not answers to their records: classified anew", len(known) - len(found)
        )
    return found


def last_answers(job: Job, run: str) -> KnownTable | None:
    """The answers in the last output of an `only: stale` job; None for other jobs.

    Each worker process reads them for itself: rows are not shuffled, and nothing of them stays in memory.
    """
    if job.only != "stale":
        return None
    if isinstance(job.output, BigQueryOutput):
        return shared_table(f"last {run}", lambda: _rows_of_table(job))
    return shared_table(f"last {run}", lambda: _rows_of(job.output.path))


def merge_key(job: Job) -> tuple[str, ...]:
    """The columns that a job's rows are merged by; none if they are not."""
    return job.output.key if isinstance(job.output, BigQueryOutput) and job.output.write == "merge" else ()


def _rows_of_table(job: Job) -> Iterator[tuple[bytes, bytes]]:
    """Answers by fingerprint, and what is current by key and fingerprint."""
    from pipelines.bigquery.current import current_key, is_settled, rows_of

    key = merge_key(job)
    for row in rows_of(job.output, list(dict.fromkeys([*ANSWER_COLUMNS, "abstained", "fingerprint", *key]))):
        if (print_ := _fingerprint(row)) is None:
            continue
        if key and is_settled(row, job):
            yield current_key([row[name] for name in key], print_), pickle.dumps(None)
        if (answer := _answer(row)) is not None:
            yield print_, pickle.dumps(Known(answer))


def _rows_of(folder: str) -> Iterator[tuple[bytes, bytes]]:
    for path in output_files(folder):
        try:
            for row in _rows_in(path):
                if (print_ := _fingerprint(row)) is not None and (answer := _answer(row)) is not None:
                    yield print_, pickle.dumps(Known(answer))
        except (DamagedFileError, ValueError, KeyError) as error:
            log.warning("%s: can't be read, its records are classified anew: %s", path, str(error)[:200])


def _rows_in(path: str) -> Iterator[dict[str, Any]]:
    with open_file(path) as file, decoding(file):
        if path.endswith(".parquet"):
            parquet = pq.ParquetFile(file)
            if "fingerprint" in parquet.schema_arrow.names:  # rows of releases that had none are stale
                for batch in parquet.iter_batches(ROWS_TOGETHER, columns=[*ANSWER_COLUMNS, "abstained", "fingerprint"]):
                    yield from batch.to_pylist()
        else:
            for line in file:
                yield orjson.loads(line)


def _fingerprint(row: Any) -> bytes | None:
    """Return a row's fingerprint; None if it has none, or what stands there is not one."""
    try:
        return bytes.fromhex(row["fingerprint"]) or None
    except (KeyError, TypeError, ValueError):
        return None


def _answer(row: dict[str, Any]) -> Answer | None:
    """Return a row's answer as the models gave it; None if it has none, or another one was put in its place.

    Its values may be of any type: see `possible_answers`.
    """
    try:
        if row.get("abstained") or (row["label"] is None and row["labels"] is None):
            return None
        fields = {name: row[name] for name in ANSWER_COLUMNS}
        if row["labels"] is not None:
            fields["labels"] = [LabelConfidence(item["label"], item["confidence"]) for item in row["labels"]]
    except (KeyError, TypeError):
        return None
    return Answer(**fields)
