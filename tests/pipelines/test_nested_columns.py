"""Request fields that are inside a column of the source: `source.columns: {text: ticket.body}`."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classer_core import JobError
from classer_core.records import Record
from pipelines.job import parse_job
from pipelines.queues import Message
from runners.local import RunSummary, run_job
from tests.fakes import load
from tests.pipelines.streaming.test_parsing import NOON, QUEUE, parser_of

ROWS = [
    {"ticket": {"id": "t1", "body": {"text": "billing question"}}, "ticket.id": "dotted 1", "day": 1},
    {"ticket": {"id": "t2", "body": {"text": "sales question"}}, "ticket.id": "dotted 2", "day": 2},
    {"ticket": {"id": "t3", "body": None}, "ticket.id": "dotted 3", "day": 3},
    {"ticket": None, "ticket.id": "dotted 4", "day": 4},
]


def run(folder: Path, format_: str, columns: dict[str, str], **more: Any) -> RunSummary:
    document = {
        "source": {"format": format_, "path": f"in.{format_}", "columns": columns},
        "labels": ["billing", "sales"],
        "output": {"path": "out"},
        "cache": "none",
        **more,
    }
    return run_job(parse_job(document, folder / "job.yaml"), folder, load=load)


def write(folder: Path, format_: str) -> None:
    if format_ == "ndjson":
        (folder / "in.ndjson").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), folder / "in.parquet")


@pytest.mark.parametrize("format_", ["ndjson", "parquet"])
def test_a_field_inside_a_column_is_the_text(tmp_path: Path, format_: str) -> None:
    write(tmp_path, format_)
    summary = run(tmp_path, format_, {"id": "day", "text": "ticket.body.text"})
    assert (summary.results, summary.failures) == (2, {"text_missing": 2})
    rows = sorted(pq.read_table(tmp_path / "out").to_pylist(), key=lambda row: row["id"])
    assert [(row["id"], row["label"]) for row in rows] == [("1", "billing"), ("2", "sales")]
    assert rows[0]["ticket"]["body"] == {"text": "billing question"}  # the whole column passes through


@pytest.mark.parametrize("format_", ["ndjson", "parquet"])
def test_a_column_whose_own_name_has_a_dot_comes_first(tmp_path: Path, format_: str) -> None:
    write(tmp_path, format_)
    run(tmp_path, format_, {"id": "ticket.id", "text": "ticket.body.text"}, passthrough=False)
    assert {row["id"] for row in pq.read_table(tmp_path / "out").to_pylist()} == {"dotted 1", "dotted 2"}


@pytest.mark.parametrize("column", ["ticket.subject", "ticket.body.text.more", "nothing.body", "ticket."])
def test_a_path_that_leads_nowhere_is_a_wrong_job(tmp_path: Path, column: str) -> None:
    write(tmp_path, "parquet")
    with pytest.raises(JobError, match="is not a column of the source"):
        run(tmp_path, "parquet", {"text": column})


def test_a_path_into_a_column_that_is_kept_as_json(tmp_path: Path) -> None:
    """Map-shaped objects have no type of their own; their values are reached all the same."""
    rows = [{"id": str(n), "meta": {f"key {n}": 1, "text": "billing"}} for n in range(2_000)]
    (tmp_path / "in.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(tmp_path, "ndjson", {"text": "meta.text"}).results == 2_000


def test_messages(tmp_path: Path) -> None:
    source = QUEUE | {"columns": {"text": "ticket.body"}}
    job = parse_job({"source": source, "labels": ["a", "b"], "output": {"path": "out"}}, tmp_path / "job.yaml")
    bodies = [b'{"ticket": {"body": "inside"}}', b'{"ticket.body": "outside"}', b'{"ticket": "flat"}']
    messages = [Message(f"m{number}", body, NOON, number) for number, body in enumerate(bodies)]
    first, second, third = (entry.outcome for entry in parser_of(job).parse(messages))
    assert isinstance(first, Record) and first.text == "inside"
    assert isinstance(second, Record) and second.text == "outside"
    assert not isinstance(third, Record)
