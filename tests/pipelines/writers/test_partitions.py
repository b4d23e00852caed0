"""`output.partition_by`: rows in folders by their values, whatever these are, and read back from there."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from classer_core.errors import JobError
from pipelines.hive import folder_of
from pipelines.job import parse_job
from pipelines.writers import partitions
from pipelines.writers.files import ours
from pipelines.writers.partitions import WritePartitionsFn, unfit
from pipelines.writers.publish import output_files
from runners.local import RunSummary, run_job
from runners.preview import first_rows
from tests.fakes import CountingModel, load_counting

HOSTILE = ["..", ".", "../../etc", "a/b", "a\\b", "", None, "x=y", "naïve café", "%2F", "__HIVE_DEFAULT_PARTITION__"]
HOSTILE += ["tab\tnew\nline", "*?[", "a" * 150, " ", "C:", "con", "~root", "-rf", "\u202eevil"]


def job_of(folder: Path, **more: Any) -> Any:
    output = {"path": "out", "format": "parquet", "partition_by": "kind", **more.pop("output", {})}
    source = {"format": "ndjson", "path": "*.ndjson"}
    document = {"source": source, "labels": ["billing", "sales"], "output": output, "cache": "none", **more}
    return parse_job(document, folder / "job.yaml")


def run(folder: Path, **more: Any) -> RunSummary:
    summary = run_job(job_of(folder, **more), folder, load=load_counting)
    assert summary is not None
    return summary


def put(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "a.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "out").rglob("*") if path.is_file()]


@pytest.mark.parametrize("format_", ["parquet", "ndjson"])
def test_any_value_is_a_folder_and_comes_back(tmp_path: Path, format_: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    put(inner, [{"id": str(n), "text": "billing", "kind": kind} for n, kind in enumerate(HOSTILE)])
    summary = run(inner, output={"format": format_})
    assert (summary.results, summary.failures) == (len(HOSTILE), {})
    assert {path.name for path in tmp_path.iterdir()} == {"inner"}
    assert {path.parent.parent for path in files(inner) if path.name != "_SUCCESS"} == {inner / "out"}
    source = {"format": format_, "path": "out/**/part-*"}
    copied = run(inner, source=source, output={"path": "copy", "format": "parquet", "partition_by": []})
    assert copied.results == len(HOSTILE)
    rows = ds.dataset(inner / "copy", format="parquet").to_table().to_pylist()
    assert {row["id"]: row["kind"] for row in rows} == {str(n): kind or None for n, kind in enumerate(HOSTILE)}


def test_other_readers_of_hive_partitions_see_the_columns(tmp_path: Path) -> None:
    kinds = ["a/b", "x y", None, "c"]
    rows = [{"id": str(n), "text": "billing", "kind": kind, "n": n % 2} for n, kind in enumerate(kinds)]
    put(tmp_path, rows)
    run(tmp_path, output={"partition_by": ["kind", "label", "n"]})
    table = ds.dataset(tmp_path / "out", format="parquet", partitioning="hive").to_table()
    found = {row["id"]: (row["kind"], row["label"], row["n"]) for row in table.to_pylist()}
    assert found == {str(n): (kind, "billing", n % 2) for n, kind in enumerate(kinds)}
    [row, *_] = first_rows(job_of(tmp_path, output={"partition_by": ["kind", "label", "n"]}), 1)
    assert row["label"] == "billing" and "kind" in row


@pytest.mark.parametrize("format_", ["parquet", "ndjson"])
def test_a_new_run_replaces_partitions_and_stale_reads_them(tmp_path: Path, format_: str) -> None:
    output = {"format": format_, "partition_by": ["label", "kind"]}
    put(tmp_path, [{"id": str(n), "text": f"billing {n}", "kind": f"old {n}"} for n in range(5)])
    run(tmp_path, output=output, only="stale")
    (tmp_path / "out/label=billing/kind=old%201/notes.txt").write_text("mine")
    (tmp_path / "out/elsewhere").mkdir()
    CountingModel.texts = []
    rows = [{"id": str(n), "text": f"billing {n}", "kind": "new"} for n in range(1, 5)]
    put(tmp_path, [*rows, {"id": "s", "text": "sales", "kind": "new"}])
    summary = run(tmp_path, output=output, only="stale")
    assert CountingModel.texts == ["sales"] and summary.cached == 4
    folders = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_dir()}
    kept = {"label=billing", "label=billing/kind=new", "label=billing/kind=old%201", "elsewhere"}
    assert folders == kept | {"label=sales", "label=sales/kind=new"}
    run(tmp_path, output={"format": format_, "partition_by": []})  # and without partitions
    assert [path.parent for path in map(Path, ours(str(tmp_path / "out")))] == [tmp_path / "out"]
    assert output_files(str(tmp_path / "out")) == ours(str(tmp_path / "out"))


def test_a_value_that_is_too_long_fails_alone(tmp_path: Path) -> None:
    put(tmp_path, [{"id": "1", "text": "billing", "kind": "x" * 201}, {"id": "2", "text": "sales", "kind": "y"}])
    summary = run(tmp_path, output={"partition_by": ["label", "kind"]})
    assert summary.failures == {"row_refused": 1}
    [failure] = ds.dataset(tmp_path / "out-failures", format="parquet").to_table().to_pylist()
    assert (failure["id"], failure["stage"], failure["field"]) == ("1", "write", "kind")
    assert json.loads(failure["record"])["text"] == "billing"
    assert [path.parent.name for path in files(tmp_path) if path.suffix == ".parquet"] == ["kind=y"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": {"partition_by": ["nothing"]}}, "is not a column of the output"),
        ({"output": {"partition_by": ["confidence"]}}, "these can: label, classifier, model"),
        ({"output": {"partition_by": ["tags"]}}, "holds list"),
        ({"output": {"partition_by": ["_rescued_data"]}}, "a letter first"),
        ({"output": {"partition_by": ["kind", "kind"]}}, "names a column twice"),
        ({"failures": {"path": "f", "partition_by": ["code"]}}, "is for results"),
        ({"source": {"format": "documents", "path": "*", "watch": "1s"}}, "is for a source that ends"),
    ],
)
def test_columns_that_cannot_be_folders(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    put(tmp_path, [{"id": "1", "text": "billing", "kind": "a", "tags": ["b"]}])
    with pytest.raises(JobError, match=message):
        run(tmp_path, **changes)
    assert not (tmp_path / "out").exists()


def test_rows_that_wait_are_bounded_and_so_are_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "PENDING_BYTES", 4_000)
    step = WritePartitionsFn(str(tmp_path), "parquet", ["kind"])
    step.start_bundle()
    for start in range(0, 1_000, 100):
        kinds = [str(n % 200) for n in range(start, start + 100)]
        batch = pa.RecordBatch.from_pydict({"id": [str(n) for n in range(100)], "kind": kinds})
        assert list(step.process(batch)) == []
        assert step._bytes < 4_000
    paths = [element.value for element in step.finish_bundle()]
    assert ds.dataset(paths, format="parquet").count_rows() == 1_000
    assert len({str(Path(path).parent) for path in paths}) == 200
    monkeypatch.setattr(partitions, "MAX_PARTITIONS", 10)
    step.start_bundle()
    with pytest.raises(partitions.TooManyPartitionsError, match=r"output\.partition_by = kind"):
        list(step.process(batch))


def test_types_as_folders() -> None:
    schema = pa.schema(
        [("a", pa.date32()), ("b", pa.timestamp("us")), ("c", pa.dictionary(pa.int8(), pa.string())), ("d", pa.bool_())]
    )
    assert [name for name in schema.names if unfit(name, schema) is None] == ["a", "c", "d"]
    assert folder_of("a", "é".encode()) == "a=%C3%A9"
