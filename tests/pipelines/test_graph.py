"""The whole graph: every record in ends as one result or one failure, with the right content."""

import gzip
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classer_core import Engine, JobError, TooManyFailuresError
from classer_core.errors import UnreadableFilesError
from pipelines.job import parse_job
from runners.local import RunSummary, run_job
from tests.fakes import load

LABELS = ["billing", "technical", "sales"]


def run(folder: Path, source: dict[str, Any], load: Callable[[], Engine] = load, **more: Any) -> RunSummary:
    document = {"source": source, "labels": LABELS, "output": {"path": "out"}, **more}
    return run_job(parse_job(document, folder / "job.yaml"), folder, load=load)


def rows(folder: Path, name: str = "out") -> list[dict[str, Any]]:
    return sorted(pq.read_table(folder / name).to_pylist(), key=lambda row: row["id"])


def write_ndjson(path: Path, records: list[Any]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


# Each kind of bad record, as bytes of an NDJSON line, and the code that it must fail with.
BAD_LINES: list[tuple[bytes, str]] = [
    (b'{"id": "ID", "text": "cut', "row_malformed"),
    (b'["id", "ID"]', "row_malformed"),
    (b'{"id": "ID", "text": "\xff"}', "row_not_utf8"),
    (b'{"id": "ID", "text": "lone \\ud800"}', "row_malformed"),
    (b'{"id": "ID", "text": "nul \\u0000"}', "text_invalid"),
    (b'{"id": "ID", "text": 7}', "text_invalid"),
    (b'{"id": "ID", "text": ["billing"]}', "text_invalid"),
    (b'{"id": "ID"}', "text_missing"),
    (b'{"id": "ID", "text": null}', "text_missing"),
    (b'{"id": "ID", "text": ""}', "text_empty"),
    (b'{"id": "ID", "text": " \\n\\t\\u3000"}', "text_empty"),
    (b'{"id": "ID", "text": "x", "labels": []}', "labels_invalid"),
    (b'{"id": "ID", "text": "x", "labels": "billing"}', "labels_invalid"),
    (b'{"id": "ID", "text": "x", "labels": ["a", "a"]}', "labels_invalid"),
    (b'{"id": "ID", "text": "x", "labels": ["a", ""]}', "labels_invalid"),
    (b'{"id": "ID", "text": "x", "labels": ["a", 7]}', "labels_invalid"),
    (json.dumps({"id": "ID", "text": "x", "labels": ["a" * 101]}).encode(), "labels_invalid"),
    (json.dumps({"id": "ID", "text": "x", "labels": [str(n) for n in range(201)]}).encode(), "labels_invalid"),
    (b'{"id": "ID", "text": "x", "descriptions": {"refunds": "money back"}}', "descriptions_invalid"),
    (b'{"id": "ID", "text": "x", "examples": {"refunds": ["money back"]}}', "examples_invalid"),
    (b'{"id": "ID", "text": "x", "priority": "urgent"}', "priority_invalid"),
    (b'{"id": "ID", "text": "x", "threshold": 1.01}', "threshold_invalid"),
    (b'{"id": "ID", "text": "x", "mode": "both"}', "mode_invalid"),
    (b'{"id": "ID", "text": "x", "cache": "no"}', "cache_invalid"),
    (b'{"id": "ID", "text": "x", "text_type": 3}', "text_type_invalid"),
    (b'{"id": {"a": 1}, "text": "x"}', "id_invalid"),
]


def test_every_record_ends_as_one_result_or_one_failure(tmp_path: Path) -> None:
    """20,000 records over plain and compressed files, salted with every kind of bad one."""
    expected_failures: Counter[str] = Counter()
    good_ids, lines = [], []
    for number in range(20_000):
        id_ = f"r{number}"
        if number % 10:
            line = json.dumps({"id": id_, "text": f"{LABELS[number % 3]} question", "n": number}).encode()
            good_ids.append(id_)
        else:
            bad, code = BAD_LINES[number // 10 % len(BAD_LINES)]
            line = bad.replace(b'"ID"', json.dumps(id_).encode())
            expected_failures[code] += 1
        lines.append(line)
    (tmp_path / "plain.ndjson").write_bytes(b"\n".join(lines[:12_000]))
    (tmp_path / "packed.ndjson.gz").write_bytes(gzip.compress(b"\n".join(lines[12_000:])))
    (tmp_path / "damaged.ndjson.gz").write_bytes(b"\x1f\x8b\x08 this is no gzip")
    expected_failures["file_unreadable"] = 1

    fields = ["labels", "descriptions", "examples", "priority", "threshold", "mode", "cache", "text_type"]
    source = {"format": "ndjson", "path": ["*.ndjson", "*.gz"]}
    summary = run(tmp_path, source, record_fields=fields, max_unreadable_files=1)

    results, failures = rows(tmp_path), rows(tmp_path, "out-failures")
    assert [row["id"] for row in results] == sorted(good_ids)
    assert all(row["label"] == LABELS[row["n"] % 3] for row in results)
    assert Counter(row["code"] for row in failures) == expected_failures
    assert len({row["id"] for row in failures}) == len(failures)
    assert len(results) + len(failures) == 20_001
    assert (summary.records, summary.results) == (20_001, len(good_ids))
    assert summary.failures == dict(sorted(expected_failures.items()))
    readable = [row for row in failures if row["code"] not in ("row_malformed", "row_not_utf8", "file_unreadable")]
    assert all(json.loads(row["record"])["id"] == row["id"] for row in readable if row["code"] != "id_invalid")
    invalid = next(row for row in readable if row["code"] == "priority_invalid")
    assert (invalid["field"], invalid["stage"]) == ("priority", "read")
    assert "'urgent'" in invalid["message"] and json.loads(invalid["record"])["priority"] == "urgent"


def test_duplicate_ids_are_kept(tmp_path: Path) -> None:
    write_ndjson(tmp_path / "a.ndjson", [{"id": 1, "text": "billing"}, {"id": 1, "text": "sales"}])
    run(tmp_path, {"format": "ndjson", "path": "a.ndjson"})
    assert [(row["id"], row["label"]) for row in rows(tmp_path)] in (
        [("1", "billing"), ("1", "sales")],
        [("1", "sales"), ("1", "billing")],
    )


def test_unsure_records_abstain(tmp_path: Path) -> None:
    write_ndjson(tmp_path / "a.ndjson", [{"id": 1, "text": "billing"}, {"id": 2, "text": "billing sales"}])
    summary = run(tmp_path, {"format": "ndjson", "path": "a.ndjson"}, min_confidence=0.9, fallback_label="other")
    assert [(row["label"], row["abstained"]) for row in rows(tmp_path)] == [("billing", False), ("other", True)]
    assert (summary.results, summary.abstained) == (2, 1)


def test_ids_are_made_of_file_and_position(tmp_path: Path) -> None:
    write_ndjson(tmp_path / "a.ndjson", [{"text": "billing"}, {"text": "sales"}])
    run(tmp_path, {"format": "ndjson", "path": "*.ndjson"})
    assert [row["id"] for row in rows(tmp_path)] == ["a.ndjson@0", "a.ndjson@20"]


def test_a_file_named_by_two_patterns_is_read_once(tmp_path: Path) -> None:
    write_ndjson(tmp_path / "a.ndjson", [{"text": "billing"}])
    run(tmp_path, {"format": "ndjson", "path": ["*.ndjson", "a.*"]})
    assert len(rows(tmp_path)) == 1


def test_a_record_sets_the_fields_that_the_job_names(tmp_path: Path) -> None:
    records = [
        {"id": "a", "text": "refund please", "labels": ["refund", "praise"]},
        {"id": "b", "text": "sales and billing", "mode": "multi", "threshold": 0.1},
        {"id": "c", "text": "technical"},
    ]
    write_ndjson(tmp_path / "a.ndjson", records)
    fields = ["labels", "mode", "threshold"]
    run(tmp_path, {"format": "ndjson", "path": "a.ndjson"}, mode="single", record_fields=fields)
    own, multi, default = rows(tmp_path)
    assert (own["label"], default["label"]) == ("refund", "technical")
    assert own["classifier"] != default["classifier"]
    assert multi["label"] is None
    assert {item["label"] for item in multi["labels"]} >= {"sales", "billing"}


@pytest.mark.parametrize("passthrough", [True, False, ["day"]])
def test_columns_pass_through_with_their_types(tmp_path: Path, passthrough: bool | list[str]) -> None:
    table = pa.table(
        {
            "text": ["billing", "", "sales"],
            "label": ["gold", "gold", "gold"],
            "day": pa.array([1, 2, 3], pa.date32()),
            "customer": [{"plan": "free", "tags": ["a"]}, None, {"plan": "team", "tags": []}],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    columns = {"text": "text"}
    run(tmp_path, {"format": "parquet", "path": "a.parquet", "columns": columns}, passthrough=passthrough)
    written = pq.read_table(tmp_path / "out").sort_by("id")
    assert written.column("label").to_pylist() == ["billing", "sales"]
    assert ("text" in written.schema.names) is (passthrough is True)
    if passthrough is not False:
        assert written.schema.field("day").type == pa.date32()
        assert written.column("day").cast(pa.int32()).to_pylist() == [1, 3]
    if passthrough is True:
        assert written.column("input_label").to_pylist() == ["gold", "gold"]
        assert written.schema.field("customer").type == table.schema.field("customer").type
        assert written.column("customer").to_pylist()[1] == {"plan": "team", "tags": []}


def test_csv_cells_hold_any_field(tmp_path: Path) -> None:
    cells = 'id,text,labels,mode,threshold,cache\n007,a fruit,"[""fruit"", ""tool""]",,,\n8,billing,,multi,0.2,false\n'
    (tmp_path / "a.csv").write_text(cells + "9,sales,,,high,\n")
    fields = ["labels", "mode", "threshold", "cache"]
    run(tmp_path, {"format": "csv", "path": "a.csv"}, record_fields=fields)
    first, second = rows(tmp_path)
    assert (first["id"], first["label"]) == ("007", "fruit")
    assert next(item["label"] for item in second["labels"]) == "billing"
    [failure] = rows(tmp_path, "out-failures")
    assert (failure["id"], failure["code"]) == ("9", "threshold_invalid")
    assert "'high'" in failure["message"]


def test_a_record_that_breaks_the_model_fails_alone(tmp_path: Path) -> None:
    records = [{"id": f"{n:03}", "text": "poison" if n == 41 else "billing"} for n in range(100)]
    write_ndjson(tmp_path / "a.ndjson", records)
    run(tmp_path, {"format": "ndjson", "path": "a.ndjson"})
    assert len(rows(tmp_path)) == 99
    [failure] = rows(tmp_path, "out-failures")
    assert (failure["id"], failure["stage"], failure["code"]) == ("041", "classify", "model_failed")
    assert json.loads(failure["record"])["text"] == "poison"


def test_too_many_failures_leave_the_last_output(tmp_path: Path) -> None:
    write_ndjson(tmp_path / "a.ndjson", [{"text": "billing"}] * 4)
    source = {"format": "ndjson", "path": "a.ndjson"}
    run(tmp_path, source, max_failure_ratio=0.5)
    write_ndjson(tmp_path / "a.ndjson", [{"text": "billing"}, {"text": ""}, {"text": ""}])
    with pytest.raises(
        TooManyFailuresError, match=r"2 of 3 records failed \(66.7%\).*Nothing was published"
    ) as stopped:
        run(tmp_path, source, max_failure_ratio=0.5)
    assert not stopped.value.summary.is_published
    assert (len(rows(tmp_path)), len(rows(tmp_path, "out-failures"))) == (4, 0)
    kept = tmp_path / "out-failures" / "_temporary" / stopped.value.summary.run
    assert [pq.read_table(path).num_rows for path in kept.iterdir()] == [2]
    with pytest.raises(TooManyFailuresError, match=r"2 of 3 records failed \(66.7%\), .* is 50.0%\. See"):
        run(tmp_path, source, max_failure_ratio=0.5, publish_anyway=True)
    assert (len(rows(tmp_path)), len(rows(tmp_path, "out-failures"))) == (1, 2)
    assert run(tmp_path, source, max_failure_ratio=0.67).results == 1


@pytest.mark.parametrize("damage", ["cut gzip", "cut parquet"])
def test_unreadable_files_leave_the_last_output(tmp_path: Path, damage: str) -> None:
    """Nine of ten files were cut short while they were copied; beside all their rows they are nine failures."""
    parquet = damage == "cut parquet"
    ending = "parquet" if parquet else "ndjson.gz"
    texts = [{"id": f"{n}", "text": f"billing {n}"} for n in range(2_000)]

    def content() -> bytes:
        if not parquet:
            return gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in texts))
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(texts), sink)
        return sink.getvalue()

    whole = content()
    for number in range(10):
        (tmp_path / f"{number}.{ending}").write_bytes(whole)
    source = {"format": "parquet" if parquet else "ndjson", "path": f"*.{ending}"}
    assert run(tmp_path, source).results == 20_000
    for number in range(1, 10):
        (tmp_path / f"{number}.{ending}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        UnreadableFilesError, match=r"9 of the source's files .* --set max_unreadable_files=9"
    ) as stopped:
        run(tmp_path, source)
    assert stopped.value.summary.unreadable_files == 9
    assert len(rows(tmp_path)) == 20_000
    assert (tmp_path / "out" / "_temporary" / stopped.value.summary.run).is_dir()
    with pytest.raises(UnreadableFilesError):
        run(tmp_path, source, max_unreadable_files=8, publish_anyway=True)
    assert len(rows(tmp_path)) == 20_000
    summary = run(tmp_path, source, max_unreadable_files=9)
    assert 2_000 <= summary.results == len(rows(tmp_path)) < 20_000
    assert [row["code"] for row in rows(tmp_path, "out-failures")] == ["file_unreadable"] * 9


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": "txt"}, "source.columns.text = txt: is not a column of the source. The source has: text, n"),
        ({"text": "n"}, "holds int64, not text"),
        ({"text": "text", "id": "key"}, "source.columns.id = key"),
    ],
)
def test_columns_that_are_not_there_stop_the_job(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    pq.write_table(pa.table({"text": ["a"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(JobError, match=r"source\.columns") as caught:
        run(tmp_path, {"format": "parquet", "path": "a.parquet", "columns": columns})
    assert message in str(caught.value)


@pytest.mark.integration
def test_many_processes_write_the_same_rows(tmp_path: Path) -> None:
    for part in range(4):
        write_ndjson(tmp_path / f"{part}.ndjson", [{"id": f"{part}-{n}", "text": "billing"} for n in range(50)])
    document = {"source": {"format": "ndjson", "path": "*.ndjson"}, "labels": LABELS, "output": {"path": "out"}}
    job = parse_job(document, tmp_path / "job.yaml")
    args = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    summary = run_job(job, tmp_path, beam_args=args, load=load)
    assert len({row["id"] for row in rows(tmp_path)}) == 200 == summary.results
