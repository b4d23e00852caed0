"""Classification inside a user's own pipeline."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple, Optional

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.error_handling import ErrorHandler
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from classer_core import RecordError
from pipelines.chunks import CHUNK_BYTES, CHUNK_ROWS
from pipelines.transforms import ClassifyRecords, _share
from runners.options import LOCAL_RUNNER
from tests.fakes import load

LABELS = ["billing", "technical"]
README = Path(__file__).parents[2] / "README.md"


class Ticket(NamedTuple):
    ticket: int
    text: str
    label: str


def test_rows_with_a_schema_keep_their_columns_down_to_parquet(tmp_path: Path) -> None:
    tickets = [Ticket(1, "billing billing", "gold"), Ticket(2, "technical", "tin"), Ticket(3, "", "tin")]
    with beam.Pipeline(LOCAL_RUNNER) as pipeline:
        records = pipeline | beam.Create(tickets, reshuffle=False).with_output_types(Ticket)
        answers = records | ClassifyRecords(LABELS, mode="multi", threshold=0.6, columns={"id": "ticket"}, load=load)
        _ = answers.results | "Results" >> beam.io.WriteToParquet(str(tmp_path / "results" / "part"))
        _ = answers.failures | "Failures" >> beam.io.WriteToParquet(str(tmp_path / "failures" / "part"))
    first, second = sorted(pq.read_table(tmp_path / "results").to_pylist(), key=lambda row: row["id"])
    assert (first["ticket"], first["input_label"]) == (1, "gold")
    assert first["labels"][0]["label"] == "billing" and second["labels"][0]["label"] == "technical"


def test_dicts_and_texts_are_records_too() -> None:
    records = [{"id": 7, "text": "billing"}, "technical", {"text": "refund", "labels": ["refund", "praise"]}]
    with beam.Pipeline(LOCAL_RUNNER) as pipeline:
        answers = (
            pipeline
            | beam.Create(records, reshuffle=False)
            | ClassifyRecords(LABELS, record_fields=["labels"], load=load)
        )
        found = answers.results | beam.Map(lambda row: (row.id if row.id == "7" else len(row.id), row.label))
        assert_that(found, equal_to([("7", "billing"), (16, "technical"), (16, "refund")]))


def test_failures_go_to_beams_error_handler() -> None:
    with beam.Pipeline(LOCAL_RUNNER) as pipeline:
        with ErrorHandler(beam.Map(lambda row: (row.code, row.stage, json.loads(row.record)["text"]))) as handler:
            records = pipeline | beam.Create(["billing", "poison", ""], reshuffle=False)
            results = records | ClassifyRecords(LABELS, load=load).with_error_handler(handler)
        assert results.element_type.get_type_for("confidence") == Optional[float]  # noqa: UP045
        assert_that(results | beam.Map(lambda row: row.label), equal_to(["billing"]), "results")
        failed = [("model_failed", "classify", "poison"), ("text_empty", "read", "")]
        assert_that(handler.output(), equal_to(failed), "failures")


def test_windows_are_kept() -> None:
    class Windowed(beam.DoFn):
        def process(self, row: Any, window: Any = beam.DoFn.WindowParam) -> Any:
            yield float(window.start), row.label

    with beam.Pipeline(LOCAL_RUNNER) as pipeline:
        texts = [TimestampedValue("billing", 1), TimestampedValue("technical", 61), TimestampedValue("billing", 62)]
        records = pipeline | beam.Create(texts, reshuffle=False) | beam.WindowInto(FixedWindows(60))
        found = (records | ClassifyRecords(LABELS, load=load)).results | beam.ParDo(Windowed())
        assert_that(found, equal_to([(0.0, "billing"), (60.0, "technical"), (60.0, "billing")]))


def test_what_is_wrong_is_said_before_anything_runs() -> None:
    with pytest.raises(RecordError, match="Labels must be unique"):
        ClassifyRecords(["a", "a"])
    with pytest.raises(ValueError, match=r"columns: \['txt'\] are not request fields"):
        ClassifyRecords(LABELS, columns={"txt": "body"})
    with pytest.raises(ValueError, match=r"record_fields: \['lables'\] are not request fields"):
        ClassifyRecords(LABELS, record_fields=["lables"])
    with pytest.raises(ValueError, match="labels are missing"):
        ClassifyRecords()
    records = beam.Pipeline(LOCAL_RUNNER) | beam.Create(["billing"])
    with pytest.raises(ValueError, match=r"passthrough: \['day'\] are not columns"):
        records | ClassifyRecords(LABELS, passthrough=["day"], load=load)


def test_the_readmes_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall(r"```python\n(import apache_beam.*?)```", README.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    answers = {row["ticket"]: row["label"] for row in pq.read_table(tmp_path / "answers").to_pylist()}
    assert answers == {1: "invoice", 2: "login problem"}
    [failure] = pq.read_table(tmp_path / "failures").to_pylist()
    assert (failure["id"], failure["code"]) == ("3", "text_empty")


def test_large_records_travel_in_small_batches() -> None:
    """Four thousand pictures of a megabyte are not in memory at once."""
    assert [_share(beam.Row(body=text)) for text in ("", "short")] == [1, 1]
    picture = b"x" * (1 << 20)
    for record in ({"image": picture}, beam.Row(image=[picture[:1000], picture])):
        assert CHUNK_ROWS // _share(record) <= CHUNK_BYTES / len(picture)
    assert _share({"text": "x" * 2 * CHUNK_BYTES}) == CHUNK_ROWS
