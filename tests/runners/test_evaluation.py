"""Evaluation from gold file to figures, over the real pipeline with the fake model; and what is said of wrong files."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from classer_core import JobError
from classer_core.evaluation import Report
from pipelines.gold import read_gold
from pipelines.job import Job, parse_job
from runners.evaluation import evaluate_job
from runners.evaluation_tables import show_report
from tests.fakes import load

# id, text, right label. The fake model answers with the label that the text names most.
ROWS = [
    ("1", "billing", "billing"),
    ("2", "sales", "sales"),
    ("3", "sales", "billing"),
    ("4", "technical", "technical"),
]


def job(folder: Path, **more: Any) -> Job:
    lines = [json.dumps({"ticket": id, "body": text}) for id, text, _ in ROWS]
    (folder / "tickets.ndjson").write_text("\n".join(lines))
    document: dict[str, Any] = {
        "source": {"format": "ndjson", "path": "tickets.ndjson", "columns": {"id": "ticket", "text": "body"}},
        "labels": ["billing", "technical", "sales"],
        "output": {"path": "out"},
    }
    return parse_job(document | more, folder / "job.yaml")


def judge(folder: Path, gold: str | bytes, name: str = "gold.csv", **more: Any) -> Report:
    (folder / name).write_bytes(gold if isinstance(gold, bytes) else gold.encode())
    return evaluate_job(job(folder, **more), folder / "job.yaml", str(folder / name), load=load)


def problem(folder: Path, gold: str, name: str = "gold.csv", column: str = "label", **more: Any) -> str:
    (folder / name).write_text(gold)
    with pytest.raises(JobError) as caught:
        read_gold(job(folder, **more), str(folder / name), column, str(folder))
    return str(caught.value)


def test_gold_rows_with_texts_are_classified(tmp_path: Path) -> None:
    rows = "".join(f"{id},{text},{label}\n" for id, text, label in ROWS)
    report = judge(tmp_path, "ticket,body,label\n" + rows + "5,sales,\n6,,sales\n")
    assert (report.judged, report.accuracy.value) == (4, 0.75)
    assert (report.rows.gold_rows, report.rows.without_gold, report.rows.failed) == (6, 1, {"text_empty": 1})
    [mistake] = report.mistakes
    assert (mistake.id, mistake.text, mistake.gold, mistake.given) == ("3", "sales", ["billing"], "sales")
    assert [(row.label, row.precision, row.recall, row.support) for row in report.labels] == [
        ("billing", 1.0, 0.5, 2),
        ("technical", 1.0, 1.0, 1),
        ("sales", 0.5, 1.0, 1),
    ]
    assert not (tmp_path / "out").exists()


def test_gold_rows_with_ids_alone_find_the_jobs_records(tmp_path: Path) -> None:
    packed = gzip.compress(
        b'{"ticket": 1, "topic": "billing"}\n{"ticket": 3, "topic": "billing"}\n{"ticket": 9, "topic": "sales"}'
    )
    (tmp_path / "gold.jsonl.gz").write_bytes(packed)
    report = evaluate_job(job(tmp_path), tmp_path / "job.yaml", str(tmp_path / "gold.jsonl.gz"), "topic", load=load)
    assert (report.judged, report.rows.unmatched, report.accuracy.value) == (2, 1, 0.5)


def test_several_labels(tmp_path: Path) -> None:
    right = [["billing", "sales"], ["sales"], []]
    pq.write_table(
        pa.table({"text": ["billing sales", "billing", "hello"], "label": pa.array(right, pa.list_(pa.string()))}),
        tmp_path / "gold.parquet",
    )
    gold = (tmp_path / "gold.parquet").read_bytes()
    report = judge(tmp_path, gold, "gold.parquet", mode="multi", threshold=0.9)
    assert report.mode == "multi" and report.judged == 3
    assert report.accuracy.value == pytest.approx(2 / 3)
    assert (report.micro_precision.value, report.micro_recall.value) == pytest.approx((2 / 3, 2 / 3))
    assert sum(item.count for item in report.calibration) == 9  # every label of every row, below the threshold too


def test_one_label_is_there_or_not(tmp_path: Path) -> None:
    gold = "body,label\nspam,true\nhello,false\nhello spam,spam\nhi,ham\nspam,ham\n"
    report = judge(tmp_path, gold, labels=["spam"], min_confidence=0.5, fallback_label="ham")
    assert (report.mode, report.accuracy.value, report.micro_recall.value) == ("detection", 0.8, 1.0)


def test_abstaining_is_reported_and_can_be_right(tmp_path: Path) -> None:
    gold = "body,label\nbilling,billing\nhello,sales\n"
    report = judge(tmp_path, gold, min_confidence=0.9)
    assert report.abstained is not None and (report.abstained.answered, report.abstained.precision) == (0.5, 1.0)
    assert report.accuracy.value == 0.5  # before abstaining
    other = judge(tmp_path, gold.replace("hello,sales", "hello,other"), min_confidence=0.9, fallback_label="other")
    assert other.fallback_is_right and other.accuracy.value == 1.0


def test_a_column_of_labels_is_not_taken_for_gold_and_request_at_once(tmp_path: Path) -> None:
    source = {"format": "ndjson", "path": "tickets.ndjson"}
    (tmp_path / "gold.ndjson").write_text('{"text": "billing", "labels": ["sales"]}\n')
    own = job(tmp_path, source=source, mode="multi", threshold=0.9, record_fields=["labels"])
    report = evaluate_job(own, tmp_path / "job.yaml", str(tmp_path / "gold.ndjson"), "labels", load=load)
    assert report.micro_precision.value == 0.0


@pytest.mark.parametrize(
    ("gold", "more", "expected"),
    [
        ("body,label\nx,biling\nx,biling\n", {}, ["gold.csv#2: label = 'biling'", "(2 rows)", "mean 'billing'?"]),
        ("body,label\nx,zzz\n", {}, ["none of the job's labels", "The labels are: billing, technical, sales."]),
        ("body,topic\nx,sales\n", {}, ["--gold-column = 'label'", "is not a column", "gold.csv has: body, topic."]),
        ("what,label\nx,sales\n", {}, ["neither a column 'body'", "nor 'ticket'", "gold.csv has: what, label."]),
        ("body,label\nx,\n", {}, ["no row has a label: 1 rows, 1 of them with an empty 'label'"]),
        ('body,label\nx,"[""sales""]"\n', {}, ["is not a label in mode single", "Give one label a row."]),
        ("ticket,label\n1,sales\n1,billing\n", {}, ["gold.csv#3", "id '1' is there twice", "Make ids unique"]),
    ],
)  # fmt: skip
def test_wrong_gold_names_place_value_and_remedy(tmp_path: Path, gold: str, more: Any, expected: list[str]) -> None:
    message = problem(tmp_path, gold, **more)
    assert all(part in message for part in expected), message


def test_wrong_gold_files(tmp_path: Path) -> None:
    assert "has no ending that tells its format" in problem(tmp_path, "x", "gold.xlsx")
    assert "can't be read as parquet" in problem(tmp_path, "x", "gold.parquet")
    with pytest.raises(JobError, match="is not a file"):
        read_gold(job(tmp_path), str(tmp_path / "none.csv"), "label", "")
    with pytest.raises(JobError, match="none of 1 rows with a label got an answer"):
        judge(tmp_path, "ticket,label\n77,sales\n")


def test_the_terminal_shows_figures_and_no_escapes(tmp_path: Path) -> None:
    report = judge(tmp_path, "body,label\nbilling,billing\nsales \x1b[31m[b]red,billing\n")
    shown = io.StringIO()
    show_report(report, Console(file=shown, width=100))
    text = shown.getvalue()
    assert "Accuracy" in text and "min_confidence" in text and "sales ·[31m[b]red" in text
    assert "\x1b" not in text
