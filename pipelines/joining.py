"""JoinByKey: gives chunks the answers that are known by a keyed join, for runners that have other machines.

What `JoinAnswersFn` looks up in a table of its process is joined here: the last output is read once per job, only
fingerprints, names of chunks and answers are matched, and no worker holds more than the answers of one chunk.

    chunks -> Ask -> (fingerprint, chunk's name)  --+-> Match -> (chunk's name, answer) --+-> Give -> chunks
               |     (fingerprint, answer) ---------+                                     |
               +---> (chunk's name, chunk) -----------------------------------------------+
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import apache_beam as beam

from classer_core.cached import CachedEngine, Known
from pipelines.chunks import Chunk
from pipelines.current import current_keys
from pipelines.known import LastOutput, with_answers
from pipelines.outputs import Output
from pipelines.spread import SpreadParts

ASKED, CHUNKS, FOUND, LAST, DISTINCT = "asked", "chunks", "found", "last", "distinct"


class AskingChunk(NamedTuple):
    """A chunk with the fingerprint of each record and, if rows are merged, what tells each as current."""

    chunk: Chunk
    fingerprints: list[bytes]
    current: list[bytes]


class ReadLast(beam.PTransform[Any, Any]):
    """Reads the last output once, as (fingerprint, Known as bytes), and what is current by key and fingerprint."""

    def __init__(self, last: LastOutput) -> None:
        super().__init__()
        self._last = last

    def expand(self, pbegin: Any) -> Any:
        """Return the pairs, row by row; each part on whatever worker it falls to."""
        last = self._last
        return (
            pbegin
            | "Once" >> beam.Create([None], reshuffle=False)
            | "Parts" >> beam.FlatMap(lambda _: last.output.last_parts())
            | "Spread" >> SpreadParts()
            | "Read" >> beam.FlatMap(last.rows)
        )


class JoinByKey(beam.PTransform[Any, Any]):
    """Gives chunks of records their `known` answers. Bounded.

    Args:
        load: loads the engine, for the fingerprints; called once per worker process, so it must be picklable.
        output: whose last rows are joined; None without `only: stale`.
        last: (fingerprint, Known as bytes) of the last output; None without `only: stale`.
        distinct: the same of `AnswerDistinct`; None without `dedup: global`.
    """

    def __init__(self, load: Callable[[], CachedEngine], output: Output | None, last: Any, distinct: Any) -> None:
        super().__init__()
        self._ask = AskFn(load, output)
        self._answers = {name: rows for name, rows in ((LAST, last), (DISTINCT, distinct)) if rows is not None}

    def expand(self, chunks: Any) -> Any:
        """Match by fingerprint, then gather by chunk."""
        asked = chunks | "Ask" >> beam.ParDo(self._ask).with_outputs(CHUNKS, main=ASKED)
        matched = {ASKED: asked[ASKED], **self._answers} | "ByFingerprint" >> beam.CoGroupByKey()
        found = matched | "Match" >> beam.FlatMap(match_answers)
        gathered = {CHUNKS: asked[CHUNKS], FOUND: found} | "ByChunk" >> beam.CoGroupByKey()
        return gathered | "Give" >> beam.FlatMap(give_answers)


class AskFn(beam.DoFn):
    """Yield (fingerprint, chunk's name) once for each fingerprint of a chunk, and (name, chunk) to `chunks`."""

    def __init__(self, load: Callable[[], CachedEngine], output: Output | None) -> None:
        self._load = load
        self._output = output

    def setup(self) -> None:
        """Load the engine, which all bundles share."""
        self._engine = self._load()

    def process(self, chunk: Chunk) -> Iterable[Any]:
        """Name the chunk by its content: the same one whenever a bundle is tried again."""
        fingerprints = self._engine.fingerprints(chunk.records)
        current = current_keys(chunk, fingerprints, self._output) if self._output else []
        ids = [record.id for record in chunk.records] + [failure.id for failure in chunk.failures]
        name = hashlib.sha256(repr((ids, fingerprints)).encode("utf-8", "surrogatepass")).digest()
        yield beam.pvalue.TaggedOutput(CHUNKS, (name, AskingChunk(chunk, fingerprints, current)))
        for asked in {*fingerprints, *current}:
            yield asked, name


def match_answers(element: tuple[bytes, Mapping[str, Iterable[Any]]]) -> Iterable[tuple[bytes, Any]]:
    """Yield (chunk's name, (where from, fingerprint, Known as bytes)) for each chunk that has a fingerprint."""
    fingerprint, groups = element
    # Rows of one fingerprint have one answer, unless somebody has edited them: then any, but always the same one.
    known = {name: min(groups[name], default=None) for name in (LAST, DISTINCT) if name in groups}
    found = [(name, fingerprint, answer) for name, answer in known.items() if answer is not None]
    if found:
        for chunk in groups[ASKED]:
            for answer in found:
                yield chunk, answer


def give_answers(element: tuple[bytes, Mapping[str, Iterable[Any]]]) -> Iterable[Chunk]:
    """Yield the chunks of one name with their answers; there are several if their records are all the same."""
    _, groups = element
    tables: dict[str, dict[bytes, Known]] = {LAST: {}, DISTINCT: {}}
    for name, fingerprint, answer in groups[FOUND]:
        tables[name][fingerprint] = pickle.loads(answer)
    for chunk, fingerprints, current in groups[CHUNKS]:
        yield with_answers(chunk, fingerprints, current, tables[LAST], tables[DISTINCT])
