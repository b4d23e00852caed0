"""Chunks on their way between workers."""

import pickle

import pyarrow as pa
import pytest

from classer_core import Classifier, Record
from classer_core.contents import Attachment
from pipelines.chunks import Chunk, output_schema
from pipelines.current import chunk_keys
from pipelines.outputs.bigquery import BigQueryOutput

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


@pytest.mark.parametrize(
    ("names", "key", "source_column"),
    [
        (["label", "input_label"], "input_label", "input_label"),
        (["label", "input_label"], "input_input_label", "label"),
        (["label"], "input_label", "label"),
        (["classified_at", "input_classified_at"], "input_classified_at", "input_classified_at"),
        (["classified_at", "input_classified_at"], "input_input_classified_at", "classified_at"),
        (["input_label"], "input_label", "input_label"),
        (["id", "input_id"], "input_input_id", "id"),
    ],
)
def test_keys_come_from_the_column_that_the_table_names(names: list[str], key: str, source_column: str) -> None:
    """A source may have a column named like a result, and another that already has the prefix."""
    output = BigQueryOutput(format="bigquery", table="project.dataset.table", write="merge", key=(key, "id"))
    rows = pa.RecordBatch.from_pydict({name: [f"value of {name}"] for name in names})
    columns = output.column_names(output_schema(rows.schema))
    assert len(set(columns)) == len(columns)
    assert chunk_keys(Chunk([Record("7", "text", LABELS)], rows, []), [key, "id"], columns) == [
        (f"value of {source_column}", "7")
    ]
