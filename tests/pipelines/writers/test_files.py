"""Output folders: whole files only, and a new run replaces the old one."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classer_core.errors import AnotherRunError
from classer_core.storage import join
from pipelines.limits import PUBLISHES
from pipelines.writers.files import WriteTemporaryFiles
from pipelines.writers.lease import held
from pipelines.writers.publish import PublishFiles, RowFolder
from runners.options import LOCAL_RUNNER

SCHEMA = pa.schema([("id", pa.string()), ("tags", pa.list_(pa.string()))])


def batch(*ids: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"id": id_, "tags": [id_]} for id_ in ids], schema=SCHEMA)


def write(folder: Path, batches: list[pa.RecordBatch], run: str, format: str = "parquet") -> None:
    with beam.Pipeline(LOCAL_RUNNER) as pipeline:
        write_rows(pipeline | beam.Create(batches), str(folder), run, format)


def write_rows(batches: Any, folder: str, run: str, format: str = "parquet") -> None:
    """Write and publish one folder."""
    written = batches | beam.ParDo(WriteTemporaryFiles(join(folder, "_temporary", run), format))
    publish = beam.ParDo(publisher(folder, run, format), PUBLISHES, beam.pvalue.AsList(written))
    _ = batches.pipeline | "Once" >> beam.Create([None]) | publish


def publisher(folder: Path | str, run: str, format: str = "parquet", is_leased: bool = False) -> PublishFiles:
    return PublishFiles([RowFolder(str(folder), format, SCHEMA)], run, is_leased)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_run_replaces_the_last_one_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, [batch("a", "b"), batch("c")], "first")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "part-of-a-plan.parquet").write_text("mine too")
    write(tmp_path, [batch("d")], "second")
    assert names(tmp_path) == ["_SUCCESS", "notes.txt", "part-00000-of-00001-second.parquet", "part-of-a-plan.parquet"]
    table = pq.read_table(tmp_path / "part-00000-of-00001-second.parquet")
    assert table.to_pylist() == [{"id": "d", "tags": ["d"]}]


def test_parquet_is_zstd_with_the_schema_given(tmp_path: Path) -> None:
    write(tmp_path, [batch("a")], "run")
    [path] = tmp_path.glob("*.parquet")
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"
    assert pq.read_schema(path).remove_metadata() == SCHEMA


def test_no_rows_leave_a_file_with_the_columns(tmp_path: Path) -> None:
    write(tmp_path, [], "run")
    table = pq.read_table(tmp_path)
    assert (table.num_rows, table.schema.names) == (0, ["id", "tags"])


def test_ndjson(tmp_path: Path) -> None:
    write(tmp_path, [batch("a"), batch("é")], "run", "ndjson")
    [path] = tmp_path.glob("*.ndjson")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(row["id"] for row in rows) == ["a", "é"]
    assert rows[0]["tags"] == [rows[0]["id"]]


def test_publishing_twice_is_publishing_once(tmp_path: Path) -> None:
    """A runner may try the step again after it is done."""
    folder = tmp_path / "_temporary" / "run"
    folder.mkdir(parents=True)
    (folder / "abc").write_text("rows")
    publish = publisher(tmp_path, "run")
    first = list(publish.process(None, PUBLISHES, [str(folder / "abc")]))
    assert list(publish.process(None, PUBLISHES, [str(folder / "abc")])) == first
    assert names(tmp_path) == ["_SUCCESS", *first]
    assert (tmp_path / first[0]).read_text() == "rows"


def test_a_rename_that_fails_fails_the_job(tmp_path: Path) -> None:
    publish = publisher(tmp_path, "run")
    with pytest.raises(OSError):
        list(publish.process(None, PUBLISHES, [str(tmp_path / "_temporary" / "gone")]))
    assert not (tmp_path / "_SUCCESS").exists()


def test_a_killed_job_leaves_the_last_output_whole(tmp_path: Path) -> None:
    write(tmp_path, [batch("old")], "first")
    before = names(tmp_path)
    script = """
        import os, signal
        import apache_beam as beam
        from pathlib import Path
        from tests.pipelines.writers.test_files import LOCAL_RUNNER, batch, write_rows

        def rows(number):
            if number == 50:
                os.kill(os.getpid(), signal.SIGKILL)
            return batch(f"new {number}")

        with beam.Pipeline(LOCAL_RUNNER) as pipeline:
            write_rows(pipeline | beam.Create(range(100)) | beam.Map(rows), FOLDER, "killed")
    """
    code = textwrap.dedent(script).replace("FOLDER", repr(str(tmp_path)))
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": "."}, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert [name for name in names(tmp_path) if name != "_temporary"] == before
    assert pq.read_table(tmp_path).column("id").to_pylist() == ["old"]
    write(tmp_path, [batch("newest")], "third")
    assert names(tmp_path) == ["_SUCCESS", "part-00000-of-00001-third.parquet"]


def test_a_run_that_lost_its_folder_publishes_nothing(tmp_path: Path) -> None:
    """It was given up for dead, and another run holds the folder now."""
    write(tmp_path, [batch("old")], "first")
    with held([str(tmp_path)], "second"), pytest.raises(AnotherRunError, match="run second"):
        write(tmp_path, [batch("late")], "lost")
    assert pq.read_table(tmp_path).column("id").to_pylist() == ["old"]
    assert (tmp_path / "_SUCCESS").read_text() == "first"
    with held([str(tmp_path)], "third"):
        write(tmp_path, [batch("new")], "third")
    assert names(tmp_path) == ["_SUCCESS", "part-00000-of-00001-third.parquet"]


def test_a_folders_name_is_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "out[1]"
    write(folder, [batch("old")], "first")
    write(folder, [batch("new")], "second")
    assert names(folder) == ["_SUCCESS", "part-00000-of-00001-second.parquet"]


def test_a_run_that_slept_leaves_the_rows_of_a_later_one(tmp_path: Path) -> None:
    """The later one took the folder over, and has ended: nobody holds it any more."""
    early, late, third = "20261124T010000_ffffff", "20261124T020000_aaaaaa", "20261124T030000_bbbbbb"
    write(tmp_path, [batch("new")], late)
    with pytest.raises(AnotherRunError, match=f"was written by run {late}"):
        write(tmp_path, [batch("old")], early)
    assert pq.read_table(next(tmp_path.glob("*.parquet"))).column("id").to_pylist() == ["new"]
    assert (tmp_path / "_SUCCESS").read_text() == late
    going = tmp_path / "_temporary" / "20261124T040000_000000"
    going.mkdir(parents=True)
    write(tmp_path, [batch("newest")], third)
    assert names(tmp_path / "_temporary") == [going.name]
    assert (tmp_path / "_SUCCESS").read_text() == third


def test_what_others_call_success_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "_SUCCESS").write_text('{"name": "a committer of Spark"}')
    write(tmp_path, [batch("a")], "20261124T010000_ffffff")
    assert (tmp_path / "_SUCCESS").read_text() == "20261124T010000_ffffff"
