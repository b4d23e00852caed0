"""A keyed join gives chunks what a table of the process gives them, also where rows are merged."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest

from classer_core.abstaining import Abstention
from classer_core.cached import Known, with_cache
from classer_core.records import Answer
from classer_core.requests import RequestParser
from pipelines.chunks import Chunk, SourceChunk, check_requests, without_columns
from pipelines.joining import JoinByKey, ReadLast, match_answers
from pipelines.known import JoinAnswersFn, LastOutput
from runners.options import LOCAL_RUNNER
from tests.fakes import load

LABELS = ["billing", "sales"]
LOAD = partial(with_cache, "none", load)
FRESH, ROWS = 7, 60
FOUND: list[str] = []


@dataclass(frozen=True)
class LastRows:
    """An output, as far as a join asks it."""

    merge_key: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]

    def column_names(self, results: pa.Schema) -> list[str]:
        return list(results.names)

    def last_parts(self) -> list[int]:
        return list(range(3))

    def last_rows(self, columns: Sequence[str], part: int | None = None) -> Iterator[dict[str, Any]]:
        yield from (self.rows if part is None else self.rows[part::3])


def chunk_of(start: int, end: int) -> Chunk:
    """Some rows; each text is in three of them, and one asks to be read again."""
    ids = [str(n) for n in range(start, end)]
    fields = {"id": ids, "text": [f"billing {n // 3}" for n in range(start, end)]}
    cached = {"cache": [n != FRESH for n in range(start, end)]}
    chunk = SourceChunk(ids, {**fields, **cached}, without_columns(end - start))
    return check_requests(chunk, RequestParser({"labels": LABELS}))


def last_of(key: tuple[str, ...]) -> LastOutput:
    """The last output: every second row is as it would be written, or has another id, or was edited."""
    records = chunk_of(0, ROWS).records
    rows = []
    for n, (record, fingerprint) in enumerate(zip(records, LOAD().fingerprints(records), strict=True)):
        if n % 2:
            continue
        answer = {"label": "billing", "labels": None, "confidence": 0.5, "tokens": 1, "visual_tokens": None}
        edited = {"label": "hacked"} if n // 3 % 4 == 0 else {}
        own = {"id": record.id if n % 4 else f"other {n}", "abstained": False, "fingerprint": fingerprint.hex()}
        rows.append({**answer, "model": "fake", "coverage": 1.0, "evidence": None, **own, **edited})
    rows += [{"fingerprint": "no digest"}, {"fingerprint": None}, {}]
    output: Any = LastRows(key, tuple(rows))
    return LastOutput(output, f"run {key}", Abstention(), None)


def shown(chunk: Chunk) -> Any:
    known = sorted((fingerprint, repr(item)) for fingerprint, item in chunk.known.items())
    return [record.id for record in chunk.records], [failure.id for failure in chunk.failures], known


def keep(chunk: Chunk) -> None:
    FOUND.append(repr(shown(chunk)))


@pytest.mark.parametrize("key", [(), ("id",)])
def test_a_join_gives_what_a_table_gives(key: tuple[str, ...]) -> None:
    chunks = [chunk_of(0, 25), chunk_of(25, ROWS), chunk_of(3, 9), chunk_of(3, 9), Chunk([], without_columns(0), [])]
    last = last_of(key)
    table = JoinAnswersFn(LOAD, "run", last)
    table.setup()
    expected = sorted(repr(shown(found)) for chunk in chunks for found in table.process(chunk))
    FOUND.clear()
    with beam.Pipeline(LOCAL_RUNNER) as pipeline:
        joined = pipeline | beam.Create(chunks) | JoinByKey(LOAD, last.output, pipeline | ReadLast(last), None)
        _ = joined | beam.Map(keep)
    assert sorted(FOUND) == expected
    assert any(row.endswith("[])") for row in expected), "a chunk without an answer"
    assert any(not row.endswith("[])") for row in expected), "chunks with answers"


def test_rows_of_one_fingerprint_give_the_same_answer_in_any_order() -> None:
    answers = [pickle.dumps(Known(Answer(label, None, 0.5, 1, None, "fake", 1.0))) for label in LABELS]
    ways = [
        list(match_answers((b"f", {"asked": [b"c"], "last": rows, "distinct": []})))
        for rows in (answers, answers[::-1])
    ]
    assert ways[0] == ways[1] and len(ways[0]) == 1
    assert list(match_answers((b"f", {"asked": [], "last": answers}))) == []
