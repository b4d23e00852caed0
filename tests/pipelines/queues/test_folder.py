"""New files of a folder, each once, and none before it is whole."""

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from pipelines.queues.folder import FolderQueue, FolderQueueSettings
from tests.pipelines.writers.test_streams import Writer

WATCH_S = 3_600.0


class Folder:
    """A watched folder, and a queue that looks when it is told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = time.time()
        self.settings = FolderQueueSettings((f"{path}/inbox/**",), WATCH_S, str(path))
        self.queue = self.open()

    def open(self, outputs: tuple[str, ...] = (), position: object = None) -> FolderQueue:
        settings = FolderQueueSettings(self.settings.patterns, WATCH_S, str(self.path), outputs)
        queue = settings.open(position)  # type: ignore[arg-type]
        assert isinstance(queue, FolderQueue)
        return queue

    def write(self, name: str, content: bytes = b"x", age_s: float = 3 * WATCH_S) -> None:
        file = self.path / "inbox" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (self.now - age_s,) * 2)

    def look(self, queue: FolderQueue | None = None, limit: int = 100) -> list[str]:
        """Ids of what comes at the next look."""
        queue = queue or self.queue
        queue._next_look_at = 0.0
        return [message.id for message in queue.poll(0, limit)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    yield Folder(tmp_path)


def test_new_files_come_once_oldest_first(folder: Folder) -> None:
    assert folder.look() == []
    folder.write("b.pdf", age_s=4 * WATCH_S)
    folder.write("deep/a.pdf")
    assert folder.look() == ["inbox/b.pdf", "inbox/deep/a.pdf"]
    assert folder.look() == []
    folder.write("c.pdf")
    assert folder.look() == ["inbox/c.pdf"]


def test_a_message_is_a_record_of_its_file(folder: Folder) -> None:
    folder.write("a.pdf")
    folder.queue._next_look_at = 0.0
    [message] = folder.queue.poll(0, 10)
    assert orjson.loads(message.data) == {"file": str(folder.path / "inbox" / "a.pdf")}
    assert abs(message.published_at.timestamp() - (folder.now - 3 * WATCH_S)) < 1


def test_a_name_that_is_not_utf8_is_a_message_too(folder: Folder) -> None:
    name = os.fsdecode(b"caf\xe9.pdf")
    folder.write(name)
    folder.queue._next_look_at = 0.0
    [message] = folder.queue.poll(0, 10)
    assert json.loads(message.data) == {"file": str(folder.path / "inbox" / name)}
    assert message.id == "inbox/caf\\udce9.pdf"
    Writer(folder.path / "out").write([message.id], message.published_at).end()
    assert folder.look(folder.open((str(folder.path / "out"),))) == []


def test_a_file_that_is_being_written_waits(folder: Folder) -> None:
    folder.write("a.pdf", b"ha", age_s=5)
    assert folder.look() == []
    folder.write("a.pdf", b"half", age_s=5)
    assert folder.look() == []
    folder.write("a.pdf", b"half", age_s=1)
    assert folder.look() == []
    assert folder.look() == ["inbox/a.pdf"]


def test_a_file_that_changes_is_a_new_message(folder: Folder) -> None:
    folder.write("a.pdf", b"one")
    assert folder.look() == ["inbox/a.pdf"]
    folder.write("a.pdf", b"another")
    assert folder.look() == ["inbox/a.pdf"]


def test_it_gives_no_more_than_it_is_asked_for_and_looks_no_sooner(folder: Folder) -> None:
    for name in "abcde":
        folder.write(name)
    assert folder.look(limit=2) == ["inbox/a", "inbox/b"]
    assert folder.queue.poll(0, 0) == []
    assert [message.id for message in folder.queue.poll(0, 2)] == ["inbox/c", "inbox/d"]
    folder.write("f")
    assert [message.id for message in folder.queue.poll(0, 2)] == ["inbox/e"]
    assert folder.queue.poll(0, 2) == []


def test_what_is_given_back_comes_again(folder: Folder) -> None:
    folder.write("a")
    folder.write("b")
    folder.queue._next_look_at = 0.0
    first, second = folder.queue.poll(0, 10)
    folder.queue.acknowledge([first.receipt])
    folder.queue.give_back([second.receipt])
    assert folder.look() == ["inbox/b"]


def test_published_files_are_not_read_after_a_restart(folder: Folder) -> None:
    folder.write("a", age_s=3 * WATCH_S)
    folder.write("b", age_s=3 * WATCH_S)
    output = folder.path / "out"
    [found] = [message for message in folder.queue.poll(0, 10) if message.id == "inbox/a"]
    Writer(output).write(["inbox/a"], found.published_at).end()
    assert folder.look(folder.open((str(output),))) == ["inbox/b"]
    folder.write("a", b"changed", age_s=9 * WATCH_S)  # another hour
    assert folder.look(folder.open((str(output),))) == ["inbox/a", "inbox/b"]


def test_a_checkpoint_remembers_files_where_outputs_do_not(folder: Folder) -> None:
    for name in "ab":
        folder.write(name)
    folder.queue._next_look_at = 0.0
    first, _ = folder.queue.poll(0, 10)
    position = folder.queue.position([first.receipt])
    assert folder.look(folder.open(position=position)) == ["inbox/b"]
    assert folder.open((str(folder.path / "out"),)).position([first.receipt]) is None


def test_a_file_of_the_future_is_one_of_1970_and_read_once(folder: Folder) -> None:
    """Its hour has to be the same one after a restart, when the published rows say what is done."""
    out = str(folder.path / "out")
    folder.write("future.pdf", age_s=-40 * 365 * 86_400)
    folder.write("soon.pdf", age_s=-600)
    queue = folder.open((out,))
    assert folder.look(queue) == []  # they are seen twice before they are read
    queue._next_look_at = 0.0
    messages = {message.id: message for message in queue.poll(0, 100)}
    assert {id_: message.published_at.year for id_, message in messages.items()} == {
        "inbox/future.pdf": 1970,
        "inbox/soon.pdf": datetime.now(UTC).year,
    }
    writer = Writer(folder.path / "out")
    for id_, message in messages.items():
        writer.write([id_], message.published_at)
    writer.end()
    again = folder.open((out,))
    assert folder.look(again) + folder.look(again) == []
