"""Chunks on their way between workers."""

import pickle

import pyarrow as pa
import pytest

from classer_core import Classifier, Record
from classer_core.contents import Attachment
from pipelines.chunks import Chunk

LABELS = Classifier.of(["a", "b"])
ROWS = pa.RecordBatch.from_pydict(
    {
        "text": [f"{row:0100}" for row in range(10_000)],
        "kind": pa.array(["x", "y"] * 5_000).dictionary_encode(),
        "nested": [{"tags": [str(row)]} for row in range(10_000)],
    }
)


@pytest.mark.parametrize("rows", [ROWS, ROWS.slice(5_000, 7), ROWS.slice(0, 0), ROWS.select([])])
def test_a_chunk_arrives_as_it_was_sent(rows: pa.RecordBatch) -> None:
    records = [Record(str(row), "text", LABELS, attachments=(Attachment("file", 0, b"x"),)) for row in range(len(rows))]
    received = pickle.loads(pickle.dumps(Chunk(records, rows, [])))
    assert received.records == records
    assert received.rows.equals(rows) and received.rows.num_rows == len(records)


def test_a_slice_travels_without_the_rest_of_its_batch() -> None:
    part = Chunk([Record(str(row), "text", LABELS) for row in range(10_000)], ROWS, []).part(10, 20)
    assert len(pickle.dumps(part)) < 10_000
