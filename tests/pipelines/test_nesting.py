"""JSON that is nested deeply costs its own record at most, in every format that carries JSON."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from classer_core.nesting import MAX_LEVELS
from pipelines.job import parse_job
from runners.local import RunSummary, run_job
from tests.fakes import load

# Around our bound, that of orjson's writer (254), Python's (about 1,000) and orjson's reader (1,024).
LEVELS = [MAX_LEVELS - 1, MAX_LEVELS, 254, 255, 900, 990, 1_000, 1_023, 1_024, 100_000]


def nested(levels: int, kind: str) -> str:
    return "[" * levels + "]" * levels if kind == "list" else '{"a":' * levels + "1" + "}" * levels


def run(folder: Path, source: dict[str, Any], **more: Any) -> RunSummary:
    document = {"source": source, "labels": ["billing", "sales"], "output": {"path": "out"}, "cache": "none", **more}
    return run_job(parse_job(document, folder / "job.yaml"), folder, load=load)


@pytest.mark.parametrize("kind", ["list", "object"])
def test_ndjson_rows_fail_alone(tmp_path: Path, kind: str) -> None:
    lines = ['{"id": "good", "text": "billing", "more": 1}']
    lines += [f'{{"id": "{levels}", "text": "billing", "more": {nested(levels, kind)}}}' for levels in LEVELS]
    (tmp_path / "in.ndjson").write_text("\n".join(lines))
    summary = run(tmp_path, {"format": "ndjson", "path": "in.ndjson"})
    assert (summary.results, summary.failures) == (2, {"row_malformed": len(LEVELS) - 1})  # the row is a level itself


@pytest.mark.parametrize("field", ["labels", "descriptions"])
def test_csv_cells_fail_alone(tmp_path: Path, field: str) -> None:
    with (tmp_path / "in.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", field])
        writer.writerow(["good", "billing", json.dumps(["billing"] if field == "labels" else {"billing": "invoices"})])
        writer.writerows([str(levels), "billing", nested(levels, "list")] for levels in LEVELS)
    summary = run(tmp_path, {"format": "csv", "path": "in.csv"}, record_fields=[field])
    assert (summary.results, summary.failures) == (1, {f"{field}_invalid": len(LEVELS)})
