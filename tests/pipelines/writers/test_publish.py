"""Publishing: a run that has slept, errors at any step, what a killed run has left, and what is on the disk when."""

import os
from pathlib import Path
from typing import Any

import pytest

from classer_core import patience, storage
from classer_core.errors import AnotherRunError
from pipelines.limits import PUBLISHES
from pipelines.writers import publish
from pipelines.writers.lease import held
from pipelines.writers.publish import OUR_FILE, PublishFiles, RowFolder, output_files, settle
from pipelines.writers.streams import WritePartitions
from tests.pipelines.writers.test_files import SCHEMA, batch

OLD, A, B = "20261124T010000_aaaaaa", "20261124T020000_aaaaaa", "20261124T030000_bbbbbb"


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_S", 0.001)


def make(folder: Path, run: str, files: int = 3, failures: int = 1) -> Any:
    """A run that has written its temporary files: a function that publishes them."""
    folders, temporary = [], []
    for name, count in (("out", files), ("out-failures", failures)):
        written = folder / name / "_temporary" / run
        written.mkdir(parents=True)
        for number in range(count):
            (written / f"{number}").write_text(f"{run} {number}")
        folders.append(RowFolder(str(folder / name), "ndjson", SCHEMA))
        temporary.append([str(written / f"{number}") for number in range(count)])
    step = PublishFiles(folders, run, is_leased=True)
    return lambda: list(step.process(None, PUBLISHES, *temporary))


def places(folder: Path) -> list[str]:
    return [str(folder / "out"), str(folder / "out-failures")]


def content(folder: Path, name: str = "out") -> list[str]:
    """What a folder's output says, by the names of its files."""
    return sorted(Path(path).read_text() for path in output_files(str(folder / name)))


def written(run: str, files: int = 3) -> list[str]:
    return [f"{run} {number}" for number in range(files)]


def published(folder: Path, run: str, files: int = 3) -> None:
    with held(places(folder), run):
        make(folder, run, files)()


# Where A sleeps: before it does this.
STEPS = ["remove", "give_names", "write_whole", "remove_folder"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("call", [1, 2])
def test_an_attempt_that_slept_deletes_and_names_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    """A sleeps just before a step; B takes the folders over, publishes and ends; A wakes."""
    published(tmp_path, OLD)
    late, calls = make(tmp_path, A), 0
    real = getattr(publish, step)

    def sleepy(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            monkeypatch.setattr(publish, step, real)
            for place in places(tmp_path):
                (Path(place) / "_running").unlink()
            published(tmp_path, B, files=2)
        return real(*args)

    monkeypatch.setattr(publish, step, sleepy)
    with held(places(tmp_path), A):
        try:
            late()
        except AnotherRunError as error:
            assert A in str(error)
        else:
            assert step == "remove_folder", "A had published all before it slept"
    published_by_b = [path.name for path in (tmp_path / "out").glob(f"part-*{B}*")]
    assert len(published_by_b) == 2
    if calls >= call:
        with held(places(tmp_path), "20261124T040000_cccccc"):
            settle(places(tmp_path))
        assert content(tmp_path) == written(B, 2)
        assert (tmp_path / "out" / "_SUCCESS").read_text() == B
        assert content(tmp_path, "out-failures") == written(B, 1)


def test_a_stalled_attempt_stops_where_nobody_holds_the_folder_any_more(tmp_path: Path) -> None:
    """No later run has published: B took the folder, found a wrong job, and ended."""
    published(tmp_path, OLD)
    late = make(tmp_path, A)
    with pytest.raises(AnotherRunError, match=r"is not held by this run .* any more"):
        late()
    assert content(tmp_path) == written(OLD)
    assert (tmp_path / "out" / "_SUCCESS").read_text() == OLD


@pytest.mark.parametrize("number", range(1, 9))
def test_an_error_at_any_name_leaves_the_last_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    published(tmp_path, OLD)
    real, calls = os.link, 0

    def link(source: str, target: str) -> None:
        nonlocal calls
        calls += OUR_FILE.match(Path(target).name) is not None
        if calls >= number:
            raise OSError(5, "Input/output error")
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    run = make(tmp_path, A, files=4, failures=3)
    with held(places(tmp_path), A):
        if number <= 7:
            with pytest.raises(OSError, match="Input/output error"):
                run()
        else:
            run()
    monkeypatch.setattr(os, "link", real)
    expected = A if number == 8 else OLD
    assert content(tmp_path) == written(expected, 4 if number == 8 else 3)
    assert (tmp_path / "out" / "_SUCCESS").read_text() == expected
    assert [path.name for path in (tmp_path / "out").glob("part-*") if expected not in path.name] == []


@pytest.mark.parametrize("files", [0, 1, 3])
def test_what_a_killed_run_has_left_is_settled(tmp_path: Path, files: int) -> None:
    """It was killed after so many of its three files had their names: the output is the last one, or the new one."""
    published(tmp_path, OLD)
    out, failures = tmp_path / "out", tmp_path / "out-failures"
    for folder in (out, failures):
        (folder / "_SUCCESS").unlink()
    for number in range(files):
        (out / f"part-{number:05d}-of-00003-{A}.ndjson").write_text(f"{A} {number}")
    if files == 3:
        (failures / f"part-00000-of-00001-{A}.ndjson").write_text(f"{A} 0")
        next(failures.glob(f"part-*-{OLD}*")).unlink()
    expected = A if files == 3 else OLD
    assert content(tmp_path) == written(expected)
    with held(places(tmp_path), B):
        settle(places(tmp_path))
    assert sorted(path.read_text() for path in out.glob("part-*")) == written(expected)
    assert [(folder / "_SUCCESS").read_text() for folder in (out, failures)] == [expected] * 2


def test_results_and_failures_are_of_one_run(tmp_path: Path) -> None:
    """Killed when the results were all there, and the failures were not: both are settled as they were."""
    published(tmp_path, OLD, files=1)
    (tmp_path / "out" / "_SUCCESS").unlink()
    (tmp_path / "out" / f"part-00000-of-00001-{A}.ndjson").write_text(f"{A} 0")
    with held(places(tmp_path), B):
        settle(places(tmp_path))
    assert [content(tmp_path, name) for name in ("out", "out-failures")] == [written(OLD, 1)] * 2


class Disk:
    """Which files survive a power cut: their content is synced, and so is the folder with their name."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.synced: set[int] = set()
        self.names: set[str] = set()
        self._fsync = os.fsync
        patch.setattr(os, "fsync", self.fsync)

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            self.names.update(str(entry) for entry in path.iterdir())
        else:
            self.synced.add(os.fstat(descriptor).st_ino)

    def has(self, path: Path) -> bool:
        return path.stat().st_ino in self.synced and {str(path), str(path.parent)} <= self.names


def test_what_is_said_to_be_complete_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    folder = RowFolder(str(tmp_path / "out"), "parquet", SCHEMA)
    step, checked = PublishFiles([folder], A), []
    real = storage.write_whole

    def write(path: str, data: bytes) -> None:
        checked.extend((tmp_path / "out").glob("part-*"))
        assert all(map(disk.has, checked)), "rows are on the disk before _SUCCESS says so"
        real(path, data)

    monkeypatch.setattr(publish, "write_whole", write)
    list(step.process(None, PUBLISHES, []))
    assert len(checked) == 1
    assert disk.has(tmp_path / "out" / "_SUCCESS")


def test_what_is_acknowledged_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are acknowledged when the bundle is done."""
    from apache_beam.utils.timestamp import Timestamp

    disk = Disk(monkeypatch)
    writer = WritePartitions(str(tmp_path / "out"), "parquet", SCHEMA, (str(tmp_path / "out"),))
    writer.setup()
    writer.start_bundle()
    writer.process(batch("a", "b"), Timestamp(1_790_000_000))
    writer.finish_bundle()
    [path] = (tmp_path / "out").glob("date=*/hour=*/part-*")
    assert disk.has(path)
    assert all(str(folder) in disk.names for folder in (path.parent, path.parent.parent, tmp_path / "out"))
    writer.teardown()
