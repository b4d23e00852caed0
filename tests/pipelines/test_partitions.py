"""Folders such as `date=2026-11-24/` in a source's paths are columns of the rows below them."""

import csv
import json
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest

from pipelines.job import parse_job
from runners.local import RunSummary, run_job
from tests.fakes import load

FORMATS = ["ndjson", "csv", "parquet", "avro", "orc"]


def put(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".ndjson":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as lines:
            writer = csv.DictWriter(lines, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".avro":
        fields = [{"name": name, "type": "string"} for name in rows[0]]
        with path.open("wb") as file:
            fastavro.writer(file, {"type": "record", "name": "row", "fields": fields}, rows)
    elif path.suffix == ".orc":
        orc.write_table(pa.Table.from_pylist(rows), path)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)


def run(folder: Path, format_: str, pattern: str, **more: Any) -> tuple[RunSummary, list[dict[str, Any]]]:
    source = {"format": format_, "path": pattern, **more.pop("source", {})}
    document = {"source": source, "labels": ["billing", "sales"], "output": {"path": "out"}, "cache": "none", **more}
    summary = run_job(parse_job(document, folder / "job.yaml"), folder, load=load)
    return summary, sorted(pq.read_table(folder / "out").to_pylist(), key=lambda row: row["id"])


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("pattern", ["data/**", "data/*/*/*", "data/date=*/lang=*/*"])
def test_partitions_are_columns(tmp_path: Path, format_: str, pattern: str) -> None:
    put(tmp_path / f"data/date=2026-11-24/lang=en%20GB/a.{format_}", [{"id": "1", "text": "billing", "n": "a"}])
    put(
        tmp_path / f"data/date=__HIVE_DEFAULT_PARTITION__/lang=de/a.{format_}", [{"id": "2", "text": "sales", "n": "b"}]
    )
    _, rows = run(tmp_path, format_, pattern)
    assert [(row["n"], row["date"], row["lang"]) for row in rows] == [("a", "2026-11-24", "en GB"), ("b", None, "de")]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_column_of_the_files_comes_first(tmp_path: Path, format_: str) -> None:
    put(tmp_path / f"data/date=2026-11-24/a.{format_}", [{"id": "1", "text": "billing", "date": "own"}])
    assert run(tmp_path, format_, "data/**")[1][0]["date"] == "own"


def test_a_folder_that_the_job_names_is_not_a_column(tmp_path: Path) -> None:
    put(tmp_path / "data/date=2026-11-24/a.ndjson", [{"id": "1", "text": "billing"}])
    assert "date" not in run(tmp_path, "ndjson", "data/date=2026-11-24/*.ndjson")[1][0]


def test_a_partition_may_be_a_field_of_the_request(tmp_path: Path) -> None:
    """As any column, only where the job maps it."""
    put(tmp_path / "data/labels=x/kind=chat/a.ndjson", [{"id": "1", "text": "billing"}])
    mapped = {"columns": {"text_type": "kind"}}
    summary, [row] = run(tmp_path, "ndjson", "data/**", source=mapped, passthrough=["kind"])
    assert (summary.failures, row["label"], row["kind"]) == ({}, "billing", "chat")
    assert "labels" not in row or row["labels"] is None


def test_rows_that_fail_and_files_that_lack_a_partition(tmp_path: Path) -> None:
    put(tmp_path / "data/a.ndjson", [{"id": "1", "text": "billing"}])
    put(tmp_path / "data/date=2026-11-24/b.ndjson", [{"id": "2", "text": ""}, {"id": "3", "text": "sales"}])
    (tmp_path / "data/date=2026-11-24/c.ndjson").write_text("no JSON\n")
    summary, rows = run(tmp_path, "ndjson", "data/**")
    assert [(row["id"], row["date"]) for row in rows] == [("1", None), ("3", "2026-11-24")]
    assert summary.failures == {"text_empty": 1, "row_malformed": 1}
