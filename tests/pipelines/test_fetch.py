"""FetchContents: how much of a chunk is fetched at once."""

import pyarrow as pa
import pytest

from classer_core import Classifier, Record
from classer_core.contents import Attachment
from classer_core.fetching import FetchRules
from pipelines.chunks import Chunk
from pipelines.fetch import FetchContents

LABELS = Classifier.of(["a", "b"])


@pytest.mark.parametrize(
    ("attached", "sizes"),
    [
        ([0] * 5_000, [5_000]),
        ([1] * 40, [16, 16, 8]),
        ([0, 21, 0, 0, 21, 1], [4, 1, 1]),
        ([*[0] * 1_000, *[1] * 16, *[0] * 1_000, 1], [2_016, 1]),
        ([10, 6, 1, 15, 2], [2, 2, 1]),
    ],
)
def test_what_is_attached_travels_in_small_chunks(attached: list[int], sizes: list[int]) -> None:
    records = [
        Record(str(row), "text", LABELS, attachments=tuple(Attachment("file", n, b"x") for n in range(count)))
        for row, count in enumerate(attached)
    ]
    rows = pa.RecordBatch.from_pydict({"row": list(range(len(records)))})
    parts = list(FetchContents(FetchRules()).process(Chunk(records, rows, [])))
    assert [len(part) for part in parts] == sizes
    assert [record for part in parts for record in part.records] == records
    assert [row for part in parts for row in part.rows.column("row").to_pylist()] == list(range(len(records)))
    assert all(item.data == b"x" for record in records for item in record.attachments)
