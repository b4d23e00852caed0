"""One run at a time for a folder, with real processes: some end well, some are killed."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from classer_core.errors import AnotherRunError
from pipelines.writers import lease
from pipelines.writers.lease import RUNNING, STALE_S, TAKING_OVER, Holder, check_held, held

ROOT = Path(__file__).parents[3]
ELSEWHERE = replace(Holder.here("theirs"), host="other", machine="another machine")


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path.name}/out"


def put(folder: str, holder: Holder, name: str = RUNNING) -> None:
    lease.write_whole(lease.join(folder, name), holder.to_json())


def holder_of(folder: str) -> Holder | None:
    return Holder.read(lease.join(folder, RUNNING))


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Holds a folder until it is ended or killed."""
    code = """
        import sys, time
        from pipelines.writers.lease import held
        with held([sys.argv[1]], "theirs"):
            print("held", flush=True)
            sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_folder_is_held_and_let_go(folder: str) -> None:
    with held([folder], "ours"):
        mine = holder_of(folder)
        assert mine is not None and (mine.run, mine.pid) == ("ours", os.getpid())
        check_held(folder, "ours")
        with pytest.raises(AnotherRunError, match="is being written by run ours"):
            check_held(folder, "theirs")
    assert holder_of(folder) is None
    check_held(folder, "theirs")


def test_a_run_that_fails_lets_go_too(folder: str) -> None:
    with pytest.raises(ZeroDivisionError), held([folder, folder], "ours"):
        raise ZeroDivisionError
    assert holder_of(folder) is None


def test_a_second_run_is_refused_while_the_first_is_going(tmp_path: Path) -> None:
    """The refused one takes none of its folders, and the first one's end opens the way."""
    with another_process(tmp_path) as process:
        with pytest.raises(AnotherRunError) as refused, held([str(tmp_path / "free"), str(tmp_path)], "ours"):
            raise AssertionError
        assert f"run theirs, on {Holder.here('').host} (process {process.pid}) since 20" in str(refused.value)
        assert holder_of(str(tmp_path / "free")) is None
        process.communicate("")
    assert not (tmp_path / RUNNING).exists()
    with held([str(tmp_path)], "ours"):
        pass


def test_a_killed_run_is_taken_over_at_once(tmp_path: Path) -> None:
    with another_process(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        # Not waited for: nobody has buried it yet, but it is dead.
        deadline = time.monotonic() + 30
        while lease._process(process.pid) is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        with held([str(tmp_path)], "ours"):
            assert json.loads((tmp_path / RUNNING).read_text())["run"] == "ours"
    assert not (tmp_path / RUNNING).exists()


def test_another_process_of_the_same_number_is_not_it(folder: str) -> None:
    put(folder, replace(Holder.here("theirs"), process="began at another time"))
    with held([folder], "ours"):
        mine = holder_of(folder)
        assert mine is not None and mine.run == "ours"


def test_a_run_of_another_machine_is_given_up_when_it_gives_no_sign_of_life(folder: str) -> None:
    put(folder, replace(ELSEWHERE, alive_at=time.time() - STALE_S + 60))
    with pytest.raises(AnotherRunError, match="on other"), held([folder], "ours"):
        raise AssertionError
    put(folder, replace(ELSEWHERE, alive_at=time.time() - STALE_S - 1))
    with held([folder], "ours"):
        mine = holder_of(folder)
        assert mine is not None and mine.run == "ours"


def test_signs_of_life_are_given(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_S", 0.02)
    with held([folder], "ours"):
        first = holder_of(folder)
        deadline = time.monotonic() + 30
        while (now := holder_of(folder)) == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert first is not None and now is not None
        assert now.alive_at > first.alive_at
        assert replace(now, alive_at=0) == replace(first, alive_at=0)


def test_no_sign_of_life_comes_after_the_end(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is on its way at the end takes longer than the end."""
    write, begun = lease.write_whole, threading.Event()

    def write_slowly(path: str, data: bytes) -> None:
        begun.set()
        time.sleep(0.1)
        write(path, data)

    monkeypatch.setattr(lease, "BEAT_S", 0.001)
    monkeypatch.setattr(lease, "write_whole", write_slowly)
    with held([folder], "ours"):
        assert begun.wait(30)
    time.sleep(0.2)
    assert holder_of(folder) is None


def test_what_is_no_holders_file_holds_nothing(folder: str) -> None:
    lease.write_whole(lease.join(folder, RUNNING), b"{")
    with held([folder], "ours"):
        pass
    assert holder_of(folder) is None


def test_a_turn_that_was_never_ended_stops_nobody(folder: str) -> None:
    """A run was killed in the middle of taking over from another one that was killed."""
    dead = replace(Holder.here("theirs"), process="began at another time")
    put(folder, dead)
    put(folder, replace(dead, run="third"), TAKING_OVER)
    with held([folder], "ours"):
        assert Holder.read(lease.join(folder, TAKING_OVER)) is None


def test_of_many_that_take_over_one_succeeds(tmp_path: Path) -> None:
    """They look at the same dead run, and none of them ends before all have tried."""
    (tmp_path / RUNNING).write_bytes(json.dumps(asdict(replace(Holder.here("dead"), process="gone"))).encode())
    code = """
        import sys, time
        from classer_core.errors import AnotherRunError
        from pipelines.writers.lease import held
        sys.stdin.readline()
        try:
            with held([sys.argv[1]], sys.argv[2]):
                print("held", flush=True)
                sys.stdin.read()
        except AnotherRunError:
            print("refused", flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([*command, f"run{n}"], cwd=ROOT, env=environment, **pipes)  # type: ignore[call-overload]
        for n in range(6)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.stdout.readline().strip() for process in processes]
    for process in processes:
        process.communicate("")
    assert sorted(said) == ["held", *["refused"] * 5]
    assert [path.name for path in tmp_path.iterdir()] == []
