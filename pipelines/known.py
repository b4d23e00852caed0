"""JoinAnswersFn: gives records the answers that other steps or the last run have found.

Where rows are merged into a table, records that it has as they would be written are left out.
"""

from __future__ import annotations

import logging
import pickle
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from classer_core.abstaining import Abstention
from classer_core.cache.sqlite import SqliteCache
from classer_core.cached import CachedEngine, Known
from classer_core.kept import is_answer_to
from classer_core.records import Answer, LabelConfidence, Record
from pipelines.chunks import Chunk
from pipelines.classify import NAMESPACE
from pipelines.current import current_key, current_keys, is_settled
from pipelines.outputs import Output
from pipelines.shared import Shared

log = logging.getLogger(__name__)

ROWS_TOGETHER = 10_000
FOR_EVER_S, NO_LIMIT_BYTES = 10**9, 1 << 62
ANSWER_COLUMNS = ["label", "labels", "confidence", "tokens", "visual_tokens", "model", "coverage", "evidence"]


@dataclass(frozen=True)
class LastOutput:
    """The output of the last run, whose answers are used again; travels to the workers.

    Args:
        output: where the rows are.
        run: name of this run.
        abstention: when this job gives no answer.
        mode: of this job.
        scored: whether this job asks for `scores`; otherwise a column of this name is the source's.
    """

    output: Output
    run: str
    abstention: Abstention
    mode: str | None
    scored: bool = False

    def table(self) -> KnownTable:
        """Return the answers, and what is current by key and fingerprint; one table per process.

        Each worker process reads them for itself: rows are not shuffled, and nothing of them stays in memory.
        """
        return shared_table(f"last {self.run}", self.rows)

    def rows(self, part: Any = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield (fingerprint, Known as bytes) of the answers, and (key and fingerprint, nothing) of what is current."""
        key = self.output.merge_key
        scores = ["scores"] if self.scored else []
        columns = list(dict.fromkeys([*ANSWER_COLUMNS, *scores, "abstained", "fingerprint", *key]))
        for row in self.output.last_rows(columns, part):
            if (fingerprint := _fingerprint(row)) is None:
                continue
            if key and is_settled(row, self.abstention, self.mode):
                yield current_key([row[name] for name in key], fingerprint), pickle.dumps(None)
            if (answer := _answer(row, self.scored)) is not None:
                yield fingerprint, pickle.dumps(Known(answer))


class JoinAnswersFn(beam.DoFn):
    """Gives chunks of records their `known` answers.

    Args:
        load: loads the engine, for the fingerprints; called once per worker process, so it must be picklable.
        run: name of this run.
        last: whose answers are used again; None for a job that reads all records anew.
    """

    def __init__(self, load: Callable[[], CachedEngine], run: str, last: LastOutput | None = None) -> None:
        self._load = load
        self._run = run
        self._last_output = last

    def setup(self) -> None:
        """Load the engine and the last answers, which all bundles share."""
        self._engine = self._load()
        self._last = self._last_output.table() if self._last_output else None
        self._distinct: KnownTable | None = None

    def process(self, chunk: Chunk, distinct: Iterable[tuple[bytes, bytes]] | None = None) -> Iterable[Chunk]:
        """Yield the chunk with the answers of the last run, and `distinct`, those of AnswerDistinct."""
        if distinct is not None and self._distinct is None:
            self._distinct = shared_table(f"distinct {self._run}", lambda: distinct)
        fingerprints = self._engine.fingerprints(chunk.records)
        current = current_keys(chunk, fingerprints, self._last_output.output) if self._last_output else []
        last = self._last.get({*fingerprints, *current}) if self._last is not None else {}
        found = self._distinct.get(set(fingerprints)) if self._distinct is not None else {}
        yield with_answers(chunk, fingerprints, current, last, found)


def with_answers(
    chunk: Chunk,
    fingerprints: list[bytes],
    current: list[bytes],
    last: Mapping[bytes, Known | None],
    distinct: Mapping[bytes, Known],
) -> Chunk:
    """Return a chunk with its answers, without the rows that the output has as they would be written.

    Args:
        chunk: records, without answers.
        fingerprints: of each record.
        current: of each record, what tells its row from others (`current_key`); empty if rows are not merged.
        last: what the last output has of them.
        distinct: what `AnswerDistinct` has of them, which wins.
    """
    if current:
        chunk, fingerprints = _without_current(chunk, fingerprints, current, last)
    records = dict(zip(fingerprints, chunk.records, strict=True))
    answers = {fingerprint: last[fingerprint] for fingerprint in records if fingerprint in last}
    found = {fingerprint: distinct[fingerprint] for fingerprint in records if fingerprint in distinct}
    return replace(chunk, known={**chunk.known, **possible_answers(answers, records), **found})


def _without_current(
    chunk: Chunk, fingerprints: list[bytes], current: list[bytes], last: Collection[bytes]
) -> tuple[Chunk, list[bytes]]:
    """Leave out rows that the table has as they would be written: they stay there, and cost nothing."""
    stale = [row for row, key in enumerate(current) if key not in last or not chunk.records[row].cache]
    Metrics.counter(NAMESPACE, "current").inc(len(chunk) - len(stale))
    records, rows = [chunk.records[row] for row in stale], chunk.rows.take(pa.array(stale, pa.int32()))
    return replace(chunk, records=records, rows=rows), [fingerprints[row] for row in stale]


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

    def get(self, fingerprints: Set[bytes]) -> dict[bytes, Known]:
        """Return the answers there are."""
        return {fingerprint: pickle.loads(known) for fingerprint, known in self._file.get(fingerprints).items()}


_tables: Shared[KnownTable] = Shared()


def shared_table(name: str, rows: Callable[[], Iterable[tuple[bytes, bytes]]]) -> KnownTable:
    """One table per process and name, as long as anybody uses it."""
    return _tables.get(name, lambda: KnownTable(rows()))


def possible_answers(known: Mapping[bytes, Known | None], records: Mapping[bytes, Record]) -> dict[bytes, Known]:
    """Return what may be an answer to the record of its fingerprint: rows of an output can be edited by anybody."""
    possible = {
        fingerprint: item
        for fingerprint, item in known.items()
        if item is not None and isinstance(item.answer, Answer) and is_answer_to(item.answer, records[fingerprint])
    }
    if len(possible) < len(known):
        log.warning(
            "%d rows of the last output are not answers to their records: classified anew", len(known) - len(possible)
        )
    return possible


def _fingerprint(row: Any) -> bytes | None:
    """Return a row's fingerprint; None if it has none, or what stands there is not one."""
    try:
        return bytes.fromhex(row["fingerprint"]) or None
    except (KeyError, TypeError, ValueError):
        return None


def _answer(row: dict[str, Any], scored: bool) -> Answer | None:
    """Return a row's answer as the models gave it; None if it has none, or another one was put in its place.

    Its values may be of any type: see `possible_answers`.
    """
    try:
        if row.get("abstained") or (row["label"] is None and row["labels"] is None):
            return None
        fields = {name: row[name] for name in ANSWER_COLUMNS}
        if scored:
            fields["scores"] = row.get("scores")
        for name in {"labels", "scores"} & fields.keys():
            if fields[name] is not None:
                fields[name] = [LabelConfidence(item["label"], item["confidence"]) for item in fields[name]]
    except (KeyError, TypeError):
        return None
    return Answer(**fields)
