"""The examples of Beam YAML, run as their users run them; and what the provider makes of columns."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Optional

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.chunks import SourceChunk
from pipelines.readers import Columns
from runners.beam_yaml import row_type, row_values

ROOT = Path(__file__).parents[2]


def run(example: str, variables: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "apache_beam.yaml.main", "--runner=FnApiRunner"]
    command += [f"--yaml_pipeline_file=configs/{example}", f"--jinja_variables={json.dumps(variables)}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for path in folder.glob(f"{name}-*") for line in path.read_text().splitlines()]


@pytest.mark.integration
def test_tickets(tmp_path: Path) -> None:
    """The demo's tickets, one of which has no text and one is cut off."""
    run("tickets.beam.yaml", {"out": str(tmp_path)})
    answers = pq.read_table(list(tmp_path.glob("answers-*"))).to_pylist()
    assert Counter(row["code"] for row in lines(tmp_path, "failures")) == {"text_empty": 1, "row_malformed": 1}
    assert {row["label"] for row in answers} == {"billing", "technical", "sales"}
    assert all(row["confidence"] >= 0.5 and row["text"] for row in answers)
    assert 100 < len({row["id"] for row in answers}) == len(answers)
    first = next(row for row in answers if row["id"] == "40002")
    assert (first["label"], json.loads(first["customer"])) == ("billing", {"plan": "business", "seats": 275})


@pytest.mark.integration
def test_documents(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    for path in (ROOT / "configs" / "data" / "documents").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    run("documents.beam.yaml", {"folder": str(folder), "out": str(tmp_path)})
    counts = {row["label"]: (row["documents"], row["pages"]) for row in lines(tmp_path, "counts")}
    assert counts == {"invoice": (1, 1), "manual": (1, 1), "letter": (1, 1)}
    [failure] = lines(tmp_path, "failures")
    assert Path(failure["id"]).name == "broken.pdf" and failure["stage"] == "expand"


def test_columns_become_rows_of_types_that_beam_knows() -> None:
    table = pa.table(
        {
            "key": [7],
            "body": ["hello"],
            "customer": [{"plan": "free"}],
            "tags": pa.array([["a", "b"]]),
            "seen": pa.array([1], pa.date32()),
            "_rescued_data": ["{}"],
        }
    )
    columns = Columns({"id": "key", "text": "body", "file": "scan"}, table.schema)
    chunk = SourceChunk(["x@0"], {"id": [7], "text": ["hello"], "file": ["a.pdf"]}, table.to_batches()[0])
    [row] = row_values(chunk, columns)
    assert row.as_dict() == {
        "id": "7",
        "text": "hello",
        "file": "a.pdf",
        "customer": '{"plan":"free"}',
        "tags": ["a", "b"],
        "seen": "1970-01-02",
        "rescued_data": "{}",
    }
    types = row_type(columns)
    assert [name for name, _ in types._fields] == list(row.as_dict())
    assert types.get_type_for("customer") == Optional[str]  # noqa: UP045
