"""Rows that break a table's schema: all others are written, and they end as failures with their reasons."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.coders import PickleCoder
from apache_beam.io.unbounded_source import CheckpointMark, UnboundedReader, UnboundedSource
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from classer_core.records import FAILURE_SCHEMA, Result, results_to_arrow
from pipelines.bigquery.write import WriteTable
from pipelines.chunks import output_schema
from pipelines.readers import Columns
from runners.launch_checks import prepare_outputs
from runners.local import run_name
from tests.pipelines.bigquery.warehouse import LABELS, Warehouse, column, string

pytestmark = pytest.mark.integration

ROWS, CHUNK = 1_000, 50
PASSED = pa.schema(
    [pa.field("customer", pa.string()), pa.field("note", pa.string()), pa.field("amount", pa.decimal128(38, 9))]
)
GOOD = {"customer": "c", "note": "short", "amount": Decimal("9.99")}
# What breaks the schema, in which column, and what the reason says.
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"customer": None}, "customer", "no value, and the column is REQUIRED"),
    ({"note": "longer than ten"}, "note", "a length of 15, and the column is STRING(10)"),
    ({"amount": Decimal(10_000)}, "amount", "10000.000000000 is outside NUMERIC(6, 2)"),
]
BAD_ROWS = range(5, ROWS, 27)  # 37 of them


BAD_OF = {number: BAD[place % 3] for place, number in enumerate(BAD_ROWS)}


def passed() -> list[dict[str, Any]]:
    return [GOOD | BAD_OF.get(number, ({},))[0] for number in range(ROWS)]


def create_results(warehouse: Warehouse) -> None:
    """The table that is there before the job, with its own rules; what it lacks of the result is added."""
    warehouse.create(
        "results",
        string("customer", "REQUIRED"),
        string("note", max_length=10),
        column("amount", "NUMERIC", precision=6, scale=2),
    )


def check(warehouse: Warehouse) -> None:
    written, failures = warehouse.rows("results"), warehouse.rows("results_failures")
    assert len(BAD_ROWS) == 37
    assert [row["id"] for row in written] == [f"{number:04}" for number in range(ROWS) if number not in BAD_ROWS]
    assert [row["id"] for row in failures] == [f"{number:04}" for number in BAD_ROWS]
    for number, failure in zip(BAD_ROWS, failures, strict=True):
        broken, name, reason = BAD_OF[number]
        assert (failure["stage"], failure["code"], failure["field"]) == ("write", "row_refused", name)
        assert failure["message"] == f"column {name}: {reason}"
        kept = json.loads(failure["record"])
        assert kept["id"] == failure["id"]
        assert kept[name] == (broken[name] if not isinstance(broken[name], Decimal) else f"{broken[name]:.9f}")
    assert set(Counter(row["field"] for row in failures).values()) == {12, 13}


@pytest.mark.parametrize("method", ["storage", "load"])
def test_in_batch(tmp_path: Path, warehouse: Warehouse, method: str) -> None:
    create_results(warehouse)
    warehouse.create(
        "tickets", string("id"), string("text"), string("customer"), string("note"), column("amount", "NUMERIC")
    )
    rows = [{"id": f"{number:04}", "text": LABELS[number % 3], **row} for number, row in enumerate(passed())]
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), *PASSED])
    warehouse.fill("tickets", pa.Table.from_pylist(rows, schema=schema))
    load = {"method": method, "temporary": f"{warehouse.bucket}/temporary"} if method == "load" else {}
    source = {"table": warehouse.name("tickets")}
    summary = warehouse.run(tmp_path, warehouse.job(tmp_path, source, load, passthrough=PASSED.names))
    assert (summary.records, summary.results, summary.failures) == (1_000, 963, {"row_refused": 37})
    check(warehouse)


def test_in_streaming(tmp_path: Path, warehouse: Warehouse) -> None:
    """Results of a stream, bundle by bundle."""
    create_results(warehouse)
    source = {"table": warehouse.name("tickets")}
    job = warehouse.job(tmp_path, source, {})
    prepare_outputs(job, Columns({"id": "id", "text": "text"}, PASSED), "run")
    output, failures = job.output, job.failures_output
    run = run_name()
    options = PipelineOptions(["--runner=FnApiRunner", "--streaming"])
    with beam.Pipeline(options=options) as pipeline:
        results = pipeline | beam.io.Read(Results())
        refused = results | "Results" >> WriteTable(output, output_schema(PASSED), run, is_stream=True)
        for number, part in enumerate(refused.failures):
            _ = part | f"Failures{number}" >> WriteTable(failures, FAILURE_SCHEMA, run, is_stream=True)
    check(warehouse)


def test_a_row_that_is_too_large(tmp_path: Path, warehouse: Warehouse) -> None:
    """BigQuery takes 10 MB a row; its failure keeps what it can of it."""
    warehouse.create("tickets", string("id"), string("text"), string("page"))
    rows = {"id": ["1", "2", "3"], "text": ["sales"] * 3, "page": ["small", "x" * 11_000_000, "y" * 8_000_000]}
    warehouse.fill("tickets", pa.table(rows))
    warehouse.run(tmp_path, warehouse.job(tmp_path, {"table": warehouse.name("tickets")}, {}))
    assert [(row["id"], len(row["page"])) for row in warehouse.rows("results")] == [("1", 5), ("3", 8_000_000)]
    [failure] = warehouse.rows("results_failures")
    assert failure["id"] == "2"
    assert failure["message"].startswith("the row has 11,0")
    assert "11000000 characters" in failure["record"]


def test_failures_may_go_to_files(tmp_path: Path, warehouse: Warehouse) -> None:
    warehouse.create("results", string("customer", "REQUIRED"))
    (tmp_path / "a.ndjson").write_text('{"id": 1, "text": "sales", "customer": null}\n{"id": 2, "customer": "c"}\n')
    job = warehouse.job(
        tmp_path, {"format": "ndjson", "path": "a.ndjson"}, {}, failures={"format": "ndjson", "path": "bad"}
    )
    summary = warehouse.run(tmp_path, job)
    assert (summary.records, summary.results) == (2, 0)
    assert summary.failures == {"row_refused": 1, "text_missing": 1}
    lines = [line for path in (tmp_path / "bad").glob("*.ndjson") for line in path.read_text().splitlines()]
    assert {(row["id"], row["stage"]) for row in map(json.loads, lines)} == {("1", "write"), ("2", "read")}
    assert warehouse.rows("results") == []


def result_batches() -> Iterator[pa.RecordBatch]:
    """The rows that `passed` gives, as classified ones."""
    schema = output_schema(PASSED)
    answer = {"labels": None, "confidence": 1.0, "tokens": 1, "visual_tokens": None, "latency_ms": 1.0, "cached": False}
    answer |= {"classifier": "c", "model": "m", "coverage": 1.0, "fingerprint": "f"}
    for start in range(0, ROWS, CHUNK):
        ids = [f"{number:04}" for number in range(start, start + CHUNK)]
        results = [Result(id_, "sales", **answer) for id_ in ids]
        rows = pa.RecordBatch.from_pylist(passed()[start : start + CHUNK], schema=PASSED)
        yield pa.RecordBatch.from_arrays([*results_to_arrow(results).columns, *rows.columns], schema=schema)


class Mark(CheckpointMark):
    def __init__(self, position: int) -> None:
        self.position = position

    def finalize_checkpoint(self) -> None:
        """Nobody waits for it."""


class ResultsReader(UnboundedReader):
    """One batch after the other, and no more after the last."""

    def __init__(self, position: int, end: int) -> None:
        self._batches = list(result_batches())[:end]
        self._position = position

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        if self._position >= len(self._batches):
            return False
        self._current = self._batches[self._position]
        self._position += 1
        return True

    def get_current(self) -> Any:
        return self._current

    def get_current_timestamp(self) -> Any:
        return Timestamp(self._position)

    def get_watermark(self) -> Any:
        return MAX_TIMESTAMP if self._position >= len(self._batches) else Timestamp(self._position)

    def get_checkpoint_mark(self) -> Mark:
        return Mark(self._position)


class Results(UnboundedSource):
    def __init__(self, first: int = 0, end: int = ROWS // CHUNK) -> None:
        self._first = first
        self._end = end

    def split(self, desired_num_splits: int, options: Any = None) -> Iterable["Results"]:
        return [self]

    def create_reader(self, options: Any, checkpoint_mark: Mark | None) -> ResultsReader:
        return ResultsReader(checkpoint_mark.position if checkpoint_mark else self._first, self._end)

    def get_checkpoint_mark_coder(self) -> Any:
        return PickleCoder()


def test_messages_that_come_again_are_not_written_again(tmp_path: Path, warehouse: Warehouse) -> None:
    """A stream that starts at a position before the last one that was written, as after a kill."""
    create_results(warehouse)
    job = warehouse.job(tmp_path, {"table": warehouse.name("tickets")}, {})
    prepare_outputs(job, Columns({"id": "id", "text": "text"}, PASSED), "run")
    for start, end in ((0, 12), (9, 20)):
        options = PipelineOptions(["--runner=FnApiRunner", "--streaming"])
        pipeline = beam.Pipeline(options=options)
        results = pipeline | beam.io.Read(Results(start, end))
        refused = results | "Results" >> WriteTable(job.output, output_schema(PASSED), run_name(), is_stream=True)
        for number, part in enumerate(refused.failures):
            write = WriteTable(job.failures_output, FAILURE_SCHEMA, run_name(), is_stream=True)
            _ = part | f"Failures{number}" >> write
        result = pipeline.run()
        result.wait_until_finish()
    check(warehouse)
    found = result.metrics().query(beam.metrics.MetricsFilter().with_name("duplicates"))["counters"]
    assert sum(counter.result for counter in found) == 3 * CHUNK
