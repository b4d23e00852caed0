"""`classer report` of folders and jobs, whatever the format of their files."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from classer_core.errors import JobError
from pipelines.job import Job, load_job
from runners.cli import app
from runners.local import run_job
from runners.reporting import report_of_folder, report_of_job
from tests.fakes import load

TEXTS = ["billing", "technical", "technical technical", "", "billing"]


def job(folder: Path, **more: Any) -> Job:
    rows = [{"n": n, "kind": "x", "body": text} for n, text in enumerate(TEXTS)]
    (folder / "rows.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"format": "ndjson", "path": "rows.ndjson", "columns": {"id": "n", "text": "body"}}
    document = {"source": source, "labels": ["billing", "technical"], "output": {"path": "out"}, "cache": "none"}
    (folder / "job.yaml").write_text(json.dumps({**document, **more}))
    return load_job(folder / "job.yaml")


@pytest.mark.parametrize(
    "output",
    [{"path": "out"}, {"path": "out", "format": "ndjson"}, {"path": "out", "partition_by": ["label"]}],
    ids=["parquet", "ndjson", "partitions"],
)
def test_whatever_the_files(tmp_path: Path, output: dict[str, Any]) -> None:
    asked = job(tmp_path, output=output, prices={"tokens": 5})
    run_job(asked, tmp_path, load=load)
    found = report_of_job(asked)
    assert {item.label: item.count for item in found.labels} == {"billing": 2, "technical": 2}
    assert {row.text for row in found.unsure} == {"billing", "technical", "technical technical"}
    [failure] = found.failures
    assert (failure.code, failure.count) == ("text_empty", 1) and failure.samples[0][0] == "3"
    assert found.tokens == 4 and found.cost == pytest.approx(20e-6), "an identical text is not read"
    by_folder = report_of_folder(str(tmp_path / "out"), text="body")
    assert by_folder.labels == found.labels and by_folder.unsure == found.unsure


def test_the_text_is_the_column_of_the_longest_strings(tmp_path: Path) -> None:
    run_job(job(tmp_path), tmp_path, load=load)
    assert {row.text for row in report_of_folder(str(tmp_path / "out")).unsure} >= {"billing"}


def test_files_of_other_programs_and_damaged_ones_end_no_report(tmp_path: Path) -> None:
    run_job(job(tmp_path), tmp_path, load=load)
    [file] = (tmp_path / "out").glob("part-*")
    table = pq.read_table(file).drop_columns(["latency_ms"])
    place = table.schema.get_field_index("confidence")
    pq.write_table(table.set_column(place, "confidence", pa.array(["high"] * len(table))), file)
    found = report_of_job(load_job(tmp_path / "job.yaml"))
    assert (found.rows, found.confidence, found.slowest) == (4, None, [])
    file.write_bytes(b"PAR1 and no more PAR1")
    assert report_of_job(load_job(tmp_path / "job.yaml")).rows == 0


def test_no_rows_are_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="has no rows that can be read back"):
        report_of_job(job(tmp_path))


def test_the_command_writes_a_page_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_job(job(tmp_path), tmp_path, load=load)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["report", "out", "--against", "out", "--json", "figures.json", "--text", "body"])
    assert done.exit_code == 0, done.output
    assert "technical" in done.output and "report.html" in done.output
    assert "no change that chance does not explain" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "figures.json").read_text())["rows"] == 4
    hidden = CliRunner().invoke(app, ["report", "job.yaml", "--redact", "--html", "hidden.html"])
    assert hidden.exit_code == 0 and "technical technical" not in (tmp_path / "hidden.html").read_text()
    wrong = CliRunner().invoke(app, ["report", "nowhere"])
    assert wrong.exit_code == 2 and "no rows" in wrong.output


def test_a_run_writes_its_page(tmp_path: Path) -> None:
    job(tmp_path)
    page = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["run", str(tmp_path / "job.yaml"), "--report", str(page)])
    assert done.exit_code == 0, done.output
    assert page.read_text().startswith("<!doctype html>") and "technical technical" in page.read_text()
