"""`scores:` of a job: a column of its own in every output, whoever gives the answers."""

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

from classer_core import JobError
from pipelines import graph, known
from pipelines.bigquery.schema import result_table_schema, table_fields
from pipelines.chunks import output_schema
from pipelines.job import parse_job
from pipelines.transforms import ClassifyRecords
from runners.local import RunSummary, run_job
from runners.options import LOCAL_RUNNER
from tests.fakes import CountingModel, load, load_counting

LABELS = ["billing", "technical", "sales"]


def run(folder: Path, **more: Any) -> RunSummary:
    source = {"format": "ndjson", "path": "*.ndjson"}
    document = {"source": source, "labels": LABELS, "output": {"path": "out"}, "cache": "none", **more}
    return run_job(parse_job(document, folder / "job.yaml"), folder, load=load_counting)


def scores(folder: Path) -> list[list[str] | None]:
    rows = sorted(pq.read_table(folder / "out").to_pylist(), key=lambda row: row["id"])
    return [row["scores"] and [item["label"] for item in row["scores"]] for row in rows]


def write(folder: Path, **more: Any) -> None:
    texts = ["billing billing sales", "technical", "billing billing sales"]
    rows = [{"id": str(n), "text": text, **more} for n, text in enumerate(texts)]
    (folder / "rows.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("mode", ["single", "multi"])
def test_they_are_a_list_of_labels_with_confidences(tmp_path: Path, mode: str) -> None:
    write(tmp_path, scores="the source's own")
    run(tmp_path, mode=mode, scores=2)
    found = pq.read_table(tmp_path / "out")
    assert str(found.schema.field("scores").type) == "list<element: struct<label: string, confidence: double>>"
    assert scores(tmp_path)[0] == ["billing", "sales"]
    assert set(found["input_scores"].to_pylist()) == {"the source's own"}
    run(tmp_path, mode=mode)
    assert set(pq.read_table(tmp_path / "out")["scores"].to_pylist()) == {"the source's own"}


def test_ndjson_holds_them(tmp_path: Path) -> None:
    write(tmp_path)
    run(tmp_path, scores="all", output={"format": "ndjson", "path": "out"})
    rows = [json.loads(line) for file in (tmp_path / "out").glob("*.ndjson") for line in file.read_text().splitlines()]
    [second] = [row for row in rows if row["id"] == "1"]
    assert second["scores"][0] == {"label": "technical", "confidence": second["confidence"]}
    assert len(second["scores"]) == 3


@pytest.mark.parametrize("way", ["table", pytest.param("join", marks=pytest.mark.integration)])
def test_other_steps_and_the_last_output_give_as_many_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "join":
        monkeypatch.setattr(graph, "has_other_machines", lambda pipeline: True)
        monkeypatch.setattr(known, "shared_table", lambda *_: pytest.fail("a table in one process"))
    write(tmp_path)
    read = []
    for asked in (None, 2, 2):
        del CountingModel.texts[:]
        run(tmp_path, only="stale", dedup="global", scores=asked)
        read.append(len(CountingModel.texts))
        if asked is not None:
            assert [len(item or []) for item in scores(tmp_path)] == [asked] * 3
    assert read == [2, 2, 0], "an answer with fewer scores is not an answer"


def test_an_edited_list_is_read_again(tmp_path: Path) -> None:
    write(tmp_path)
    run(tmp_path, scores=2)
    [file] = (tmp_path / "out").glob("part-*")
    rows = pq.read_table(file)
    edited = [[{"label": "hacked", "confidence": 1.0}] * 2] * len(rows)
    place = rows.schema.get_field_index("scores")
    pq.write_table(
        rows.set_column(place, rows.schema.field(place), pa.array(edited, rows.schema.field(place).type)), file
    )
    run(tmp_path, scores=2, only="stale")
    assert scores(tmp_path)[0] == ["billing", "sales"]


def test_bigquery_has_a_repeated_record() -> None:
    fields = {field.name: field for field in table_fields(result_table_schema(output_schema(pa.schema([]), True)))}
    assert (fields["scores"].mode, fields["scores"].field_type) == ("REPEATED", "RECORD")
    assert "best labels" in (fields["scores"].description or "")


def test_a_beam_pipeline_gets_them() -> None:
    with beam.Pipeline(LOCAL_RUNNER) as pipeline:
        records = pipeline | beam.Create(["billing billing sales"], reshuffle=False)
        results = (records | ClassifyRecords(LABELS, scores=2, load=load)).results
        assert "scores" in dict(results.element_type._fields)
        assert_that(
            results | beam.Map(lambda row: [item.label for item in row.scores]), equal_to([["billing", "sales"]])
        )


@pytest.mark.parametrize("wrong", [0, 201, "three", True])
def test_what_is_no_number_of_labels_is_refused(tmp_path: Path, wrong: Any) -> None:
    write(tmp_path)
    with pytest.raises(JobError, match="scores"):
        run(tmp_path, scores=wrong)
