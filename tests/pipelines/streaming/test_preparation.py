"""Slow records, and the trouble that their files make."""

import errno
import threading
from typing import Any

import pyarrow as pa
import pytest

from classer_core import Classifier
from classer_core.contents import Attachment
from classer_core.errors import StorageError
from classer_core.fetching import FetchRules
from classer_core.records import Record
from pipelines.streaming import preparation
from pipelines.streaming.parsing import Entry
from pipelines.streaming.preparation import Preparation
from tests import documents
from tests.memory_queue import NOON
from tests.pipelines.streaming.reading import load, until

CLASSIFIER = Classifier(("billing", "sales"))


def prepared(attachments: list[Attachment]) -> Entry:
    """One entry of a watched folder, prepared."""
    entry = Entry(Record("r1", "", CLASSIFIER, attachments=tuple(attachments)), (), NOON, 1, 1_000)
    made = Preparation(load, FetchRules(), ["gs://bucket/*"], pa.schema([]), lambda _: None, lambda _: None)
    made._prepare(entry)
    return entry


class Storage:
    """Answers after so many errors."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked = 0

    def read(self, attachments: list[Attachment], *_: Any) -> list[None]:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        for item in attachments:
            item.data = documents.pdf("a billing matter")
        return [None] * len(attachments)


def use(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(preparation, "read_files", storage.read)
    return [Attachment("file", 1, "gs://bucket/a.pdf")]


def test_a_storage_in_trouble_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has been retried by then; the message comes again when the stream goes on."""
    storage = Storage(StorageError("gs://bucket/a.pdf can't be read: HttpError"))
    with pytest.raises(StorageError, match="can't be read"):
        prepared(use(storage, monkeypatch))


def test_fast_records_go_first_and_the_end_goes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "THREADS", 1)
    go, begun, done = threading.Event(), threading.Event(), []

    def wait(entry: Entry) -> None:
        begun.set()
        assert go.wait(20)
        done.append(entry.outcome.id)

    made = Preparation(load, FetchRules(), ["gs://bucket/*"], pa.schema([]), wait, done.append)
    for name, priority in (("first", "standard"), ("s1", "standard"), ("f1", "fast"), ("s2", "standard")):
        made.submit(Entry(Record(name, "sales", CLASSIFIER, priority), (), NOON, name, 1_000))
        assert begun.wait(20)
    made.submit(Entry(Record("f2", "sales", CLASSIFIER, "fast"), (), NOON, "f2", 1_000))
    go.set()
    until(lambda: len(done) == 5)
    made.close()
    assert done == ["first", "f1", "f2", "s1", "s2"]


def test_trouble_of_this_machine_is_no_failure_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="too many"):
        prepared(use(Storage(OSError(errno.EMFILE, "too many open files")), monkeypatch))
