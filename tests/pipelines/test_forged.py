"""Whoever writes a record does not choose its answer: the job's labels are answered, and nothing is fetched."""

import csv
import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

from pipelines.job import parse_job
from pipelines.transforms import ClassifyRecords
from runners.local import run_job
from runners.options import LOCAL_RUNNER
from tests.fakes import OPT_IN_FIELDS, load
from tests.pipelines.forged import ANSWER, LABELS, bodies, counted_requests, fields, settings


def write(folder: Path, format: str, records: list[dict[str, Any]]) -> Path:
    """The records as one file of a format."""
    path = folder / f"in.{format}"
    if format == "ndjson":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path
    names = list(dict.fromkeys(name for record in records for name in record))
    cells = [
        {name: value if isinstance(value, str) else json.dumps(value) for name, value in record.items()}
        for record in records
    ]
    if format == "parquet":
        columns = {name: [record.get(name) for record in cells] for name in names}
        typed = {"labels": pa.array([record.get("labels") for record in records], pa.list_(pa.string()))}
        pq.write_table(pa.table({**columns, **typed}), path)
        return path
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(cells)
    return path


def answered(folder: Path, source: dict[str, Any], **more: Any) -> pa.Table:
    """The result rows of a job; no record may fail."""
    job = parse_job({"source": source, "output": {"path": "out"}, **settings(), **more}, folder / "job.yaml")
    summary = run_job(job, folder, load=load)
    assert summary is not None and summary.failures == {}, summary
    return pq.read_table(folder / "out")


@pytest.mark.parametrize("format", ["ndjson", "csv", "parquet"])
@pytest.mark.parametrize("columns", [{}, {"text": "text"}])
def test_files_do_not_choose(tmp_path: Path, format: str, columns: dict[str, str]) -> None:
    with counted_requests() as (url, asked):
        records = list(bodies(url))
        path = write(tmp_path, format, records)
        rows = answered(tmp_path, {"format": format, "path": path.name, "columns": columns})
    assert rows["label"].to_pylist() == [ANSWER] * len(records)
    assert set(rows["classifier"].to_pylist()) == {rows["classifier"][0].as_py()} and asked == []


def test_a_server_counts_what_is_fetched(tmp_path: Path) -> None:
    """The same records where the job takes what they say: the tests above would see it."""
    with counted_requests() as (url, asked):
        write(tmp_path, "ndjson", [{"text": "hello", "file": fields(url)["file"]}])
        document = {"source": {"format": "ndjson", "path": "in.ndjson"}, "output": {"path": "out"}, **settings()}
        job = parse_job({**document, "record_fields": ["file"]}, tmp_path / "job.yaml")
        summary = run_job(job, tmp_path, load=load)
    assert summary is not None and summary.failures == {"content_not_found": 1} and asked == ["/a.pdf"]


def test_ordinary_columns_of_an_export_pass_through(tmp_path: Path) -> None:
    row = {"text": "sales", "priority": "high", "labels": ["bug"], "file": "report.pdf", "mode": 7, "input_labels": "x"}
    write(tmp_path, "ndjson", [row])
    [found] = answered(tmp_path, {"format": "ndjson", "path": "in.ndjson"}).to_pylist()
    assert (found["priority"], found["file"], found["mode"], found["input_labels"]) == ("high", "report.pdf", 7, "x")
    assert (found["input_input_labels"], found["labels"], found["label"]) == (["bug"], None, "sales")


def test_records_of_a_pipeline_do_not_choose() -> None:
    with counted_requests() as (url, asked):
        records = list(bodies(url))
        with beam.Pipeline(LOCAL_RUNNER) as pipeline:
            made = pipeline | beam.Create(records, reshuffle=False)
            answers = made | ClassifyRecords(LABELS, allow_http=True, allow_hosts=["127.0.0.1"], load=load)
            assert_that(answers.results | beam.Map(lambda row: row.label), equal_to([ANSWER] * len(records)))
    assert asked == []


def test_all_fields_are_tried(tmp_path: Path) -> None:
    assert set(fields("")) == set(OPT_IN_FIELDS)
