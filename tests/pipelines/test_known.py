"""Answers found elsewhere: global dedup reads each content once, a stale job only what changed."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import graph, known
from pipelines.job import parse_job
from runners.local import RunSummary, run_job
from tests.fakes import POISON, CountingModel, load_counting

LABELS = ["billing", "technical", "sales"]


def no_table(*_: Any) -> None:
    raise AssertionError("a copy of all answers in one process")


@pytest.fixture(autouse=True, params=["table", pytest.param("join", marks=pytest.mark.integration)])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Answers come from a table of the process, or as on a cluster by a join: the rows are the same."""
    if request.param == "join":
        monkeypatch.setattr(graph, "has_other_machines", lambda pipeline: True)
        monkeypatch.setattr(known, "shared_table", no_table)
    return str(request.param)


@pytest.fixture(autouse=True)
def counted() -> list[str]:
    CountingModel.texts = []
    return CountingModel.texts


def run(folder: Path, load: Any = load_counting, **more: Any) -> RunSummary:
    source = {"format": "ndjson", "path": "*.ndjson"}
    document = {"source": source, "labels": LABELS, "output": {"path": "out"}, "cache": "none", **more}
    return run_job(parse_job(document, folder / "job.yaml"), folder, load=load)


def rows(folder: Path, name: str = "out") -> list[dict[str, Any]]:
    return sorted(pq.read_table(folder / name).to_pylist(), key=lambda row: row["id"])


def write(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_each_content_is_read_once_in_the_whole_job(tmp_path: Path, counted: list[str]) -> None:
    for part in range(3):
        records = [{"id": f"{part}-{n:04}", "text": f"{LABELS[n % 3]} {n % 7}"} for n in range(2_000)]
        own = {"id": f"{part}-own", "text": "billing 0", "labels": ["billing", "other"]}
        fresh = {"id": f"{part}-fresh", "text": "billing 0", "cache": False}
        bad = {"id": f"{part}-bad", "text": ""}
        write(tmp_path / f"{part}.ndjson", [*records, own, fresh, bad])
    summary = run(tmp_path, dedup="global", record_fields=["labels", "cache"])
    distinct = {f"{LABELS[n % 3]} {n % 7}" for n in range(21)}
    # Once each, "billing 0" for another classifier too, and again for each record that wants it read again.
    assert sorted(counted) == sorted([*distinct, "billing 0", *["billing 0"] * 3])
    written = {row["id"]: row for row in rows(tmp_path)}
    assert len(written) == 6_006 == summary.results
    for part in range(3):
        for n in range(2_000):
            row = written[f"{part}-{n:04}"]
            assert row["label"] == LABELS[n % 3]
        assert written[f"{part}-own"]["label"] == "billing"
    read = [row for row in written.values() if not row["cached"]]
    assert len(read) == len(distinct) + 1 + 3
    assert summary.cached == 6_006 - len(read)
    assert summary.tokens == sum(row["tokens"] for row in read)
    assert summary.failures == {"text_empty": 3}


def test_a_content_that_fails_fails_once_for_all(tmp_path: Path, counted: list[str]) -> None:
    records = [{"id": str(n), "text": POISON if n % 10 == 0 else "sales"} for n in range(3_000)]
    write(tmp_path / "a.ndjson", records)
    summary = run(tmp_path, dedup="global")
    assert counted.count(POISON) == 2  # in its batch, and alone
    assert (summary.results, summary.failures) == (2_700, {"model_failed": 300})
    failures = rows(tmp_path, "out-failures")
    assert {row["id"] for row in failures} == {str(n) for n in range(0, 3_000, 10)}
    assert all(json.loads(row["record"])["id"] == row["id"] for row in failures)


@pytest.mark.parametrize("format", ["parquet", "ndjson"])
@pytest.mark.parametrize("dedup", ["worker", "global"])
def test_only_what_changed_is_read_again(tmp_path: Path, counted: list[str], format: str, dedup: str) -> None:
    output = {"path": "out", "format": format}
    records = [{"id": str(n), "text": f"sales {n}", "day": 1} for n in range(50)]
    write(tmp_path / "a.ndjson", records)
    run(tmp_path, only="stale", dedup=dedup, output=output)  # without a last output everything is new
    assert len(counted) == 50
    del counted[:]
    changed = [{**record, "day": 2} for record in records[10:]]  # ten gone; another column is no other content
    changed[0]["text"] = "billing now"
    write(tmp_path / "a.ndjson", [*changed, {"id": "new", "text": "technical", "day": 2}])
    summary = run(tmp_path, only="stale", dedup=dedup, output=output)
    assert sorted(counted) == ["billing now", "technical"]
    assert (summary.results, summary.cached) == (41, 39)
    if format == "parquet":
        written = {row["id"]: row for row in rows(tmp_path)}
    else:
        lines = [line for path in (tmp_path / "out").glob("*.ndjson") for line in path.read_text().splitlines()]
        written = {row["id"]: row for row in map(json.loads, lines)}
    assert written.keys() == {record["id"] for record in changed} | {"new"}
    assert all(row["day"] == 2 for row in written.values())
    assert {id_ for id_, row in written.items() if not row["cached"]} == {"10", "new"}
    assert (written["10"]["label"], written["11"]["label"]) == ("billing", "sales")
    assert len({row["fingerprint"] for row in written.values()}) == 41
    del counted[:]
    run(tmp_path, only="stale", dedup=dedup, output=output, labels=[*LABELS, "other"])  # another question: all stale
    assert len(counted) == 41


def test_a_last_output_that_cannot_be_read_is_stale(tmp_path: Path, counted: list[str]) -> None:
    write(tmp_path / "a.ndjson", [{"id": "1", "text": "sales"}])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-00000-of-00002-old.parquet").write_bytes(b"PAR1 cut short")
    pq.write_table(pa.table({"id": ["1"], "label": ["sales"]}), tmp_path / "out" / "part-00001-of-00002-old.parquet")
    run(tmp_path, only="stale")
    assert counted == ["sales"]
    assert [row["label"] for row in rows(tmp_path)] == ["sales"]


def test_a_second_run_reads_nothing(tmp_path: Path, counted: list[str], cache_dir: Path) -> None:
    write(tmp_path / "a.ndjson", [{"id": str(n), "text": f"sales {n % 30}"} for n in range(3_000)])
    first = run(tmp_path, cache=True)
    assert (len(counted), first.cached, first.cache_errors) == (30, 2_970, 0)
    assert (cache_dir / "answers.sqlite").exists()
    before = rows(tmp_path)
    second = run(tmp_path, cache=True)
    assert (len(counted), second.cached, second.tokens) == (30, 3_000, 0)
    for old, new in zip(before, rows(tmp_path), strict=True):
        assert new["cached"]
        assert {**old, "cached": None, "latency_ms": None} == {**new, "cached": None, "latency_ms": None}
    third = run(tmp_path, cache=False)  # every record by itself
    assert (len(counted), third.cached) == (3_030, 0)


def test_a_cache_in_trouble_is_counted_and_fails_nothing(tmp_path: Path, cache_dir: Path) -> None:
    (cache_dir / "answers.sqlite").write_bytes(b"not what it says" * 1_000)
    write(tmp_path / "a.ndjson", [{"id": str(n), "text": f"sales {n}"} for n in range(3_000)])
    summary = run(tmp_path, cache=True)
    assert (summary.results, summary.cached, summary.failures) == (3_000, 0, {})
    assert summary.cache_errors >= 1


@pytest.mark.parametrize("dedup", ["worker", "global"])
def test_rows_that_were_edited_are_not_taken_for_answers(tmp_path: Path, counted: list[str], dedup: str) -> None:
    edits: list[dict[str, Any]] = [
        {"label": "hacked"},
        {"label": ["billing"]},
        {"confidence": 7.5},
        {"confidence": "high"},
        {"tokens": None},
        {"labels": [{"label": "billing", "confidence": 0.9}]},
        {"labels": "billing"},
        {"labels": ["billing"]},
        {"fingerprint": "not hex"},
        {"fingerprint": 7},
        {"evidence": "<script>"},
        {},
    ]
    write(tmp_path / "a.ndjson", [{"id": f"{n:02}", "text": f"billing {n}"} for n in range(len(edits))])
    output = {"path": "out", "format": "ndjson"}
    run(tmp_path, output=output, dedup=dedup)
    [file] = (tmp_path / "out").glob("part-*")
    rows = sorted((json.loads(line) for line in file.read_text().splitlines()), key=lambda row: row["id"])
    write(file, [{**row, **edit} for row, edit in zip(rows, edits, strict=True)])
    counted.clear()
    summary = run(tmp_path, output=output, dedup=dedup, only="stale")
    [file] = (tmp_path / "out").glob("part-*")
    again = [json.loads(line) for line in file.read_text().splitlines()]
    assert {row["id"]: row["label"] for row in again} == {row["id"]: "billing" for row in rows}
    assert len(counted) == len(edits) - 1  # one row was as it had been written
    assert summary.results == len(edits)
