"""Trouble of a storage is not damage of a file: whatever it raises, at whatever byte, through whatever decoder."""

import bz2
import errno
import gzip
import io
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from fsspec.exceptions import FSTimeoutError

from classer_core import patience, source_file
from classer_core.contents import Attachment
from classer_core.errors import FailureCode, RecordError, StorageError
from classer_core.fetching import Fetcher, FetchRules
from pipelines import fetch
from pipelines.damage import is_from_decoder
from pipelines.readers import Columns, Part, Reader
from pipelines.readers.csv import CsvReader
from pipelines.readers.files import list_files, read_part
from pipelines.readers.ndjson import NdjsonReader
from pipelines.readers.parquet import ParquetReader
from pipelines.storage import match_files

TEXT = Columns({"text": "text"}, pa.schema([]))
ROWS = [{"text": f"row {n} " + os.urandom(40).hex()} for n in range(6_000)]
TROUBLES: list[Callable[[], Exception]] = [
    lambda: OSError("Forbidden: https://storage/o/a"),
    lambda: PermissionError(errno.EACCES, "The provided token has expired"),
    lambda: PermissionError("Access Denied"),
    lambda: TimeoutError(),
    lambda: FSTimeoutError(),
    lambda: aiohttp.ServerTimeoutError("Timeout on reading data from socket"),
    lambda: aiohttp.ClientPayloadError("Response payload is not completed"),
    lambda: ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    lambda: OSError(errno.EIO, "Input/output error"),
    lambda: EOFError("connection closed"),
    lambda: RuntimeError("500"),
    lambda: pa.ArrowInvalid("of a filesystem of pyarrow's"),
]


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), sink, row_group_size=500)
    return sink.getvalue()


NDJSON = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
FILES: dict[str, tuple[Reader, bytes]] = {
    "a.ndjson": (NdjsonReader(), NDJSON),
    "a.ndjson.gz": (NdjsonReader(), gzip.compress(NDJSON, 1)),
    "a.ndjson.zst": (NdjsonReader(), zstandard.compress(NDJSON)),
    "a.ndjson.xz": (NdjsonReader(), lzma.compress(NDJSON, preset=0)),
    "a.ndjson.bz2": (NdjsonReader(), bz2.compress(NDJSON)),
    "a.csv": (CsvReader(","), b"text\n" + b"".join(row["text"].encode() + b"\n" for row in ROWS)),
    "a.parquet": (ParquetReader(), _parquet()),
}


class Unsteady(io.BytesIO):
    """Raises when it has given so many bytes."""

    def __init__(self, content: bytes, limit: int, trouble: Callable[[], Exception]) -> None:
        super().__init__(content)
        self._left = limit
        self._trouble = trouble

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._left -= len(data)
        if self._left < 0:
            raise self._trouble()
        return data


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_S", 0.001)


def read_all(name: str) -> tuple[int, list[str]]:
    """Return how many rows there are, and the codes of failures."""
    chunks = list(read_part(FILES[name][0], (name, Part()), TEXT, ""))
    failures = [failure.code for chunk in chunks for failure in chunk.failures]
    return sum(len(chunk.positions) for chunk in chunks), failures


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: repr(trouble())[:30])
@pytest.mark.parametrize("name", FILES)
def test_a_storage_in_trouble_is_no_damage(
    name: str, trouble: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives a part of the file, and from then on nothing."""
    content = FILES[name][1]
    for limit in (0, len(content) // 2, len(content) - 1):
        given = 0

        def open_once(path: str, limit: int = limit) -> Any:
            nonlocal given
            given += 1
            return Unsteady(content, limit if given == 1 else 0, trouble)

        monkeypatch.setattr(source_file, "open_once", open_once)
        with pytest.raises(StorageError, match="can't be read"):
            read_all(name)


@pytest.mark.parametrize("name", FILES)
def test_trouble_that_passes_costs_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = 0

    def open_once(path: str) -> Any:
        nonlocal opened
        opened += 1
        limit = len(FILES[name][1]) // 3 if opened < 3 else 1 << 40
        return Unsteady(FILES[name][1], limit, lambda: TimeoutError())

    monkeypatch.setattr(source_file, "open_once", open_once)
    assert read_all(name) == (6_000, [])
    assert opened == 3


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("a.ndjson", "a.csv")])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_content_that_is_cut_is_damage(name: str, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    content = FILES[name][1][: int(len(FILES[name][1]) * share)]
    monkeypatch.setattr(source_file, "open_once", lambda path: io.BytesIO(content))
    rows, failures = read_all(name)
    assert failures == ["file_unreadable"]
    assert rows < 6_000


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("a.ndjson", "a.csv")])
def test_content_of_another_kind_is_damage(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_file, "open_once", lambda path: io.BytesIO(b"neither packed nor Parquet" * 9))
    assert read_all(name) == (0, ["file_unreadable"])


def test_a_lack_of_memory_is_no_damage() -> None:
    assert is_from_decoder(pa.ArrowInvalid("Parquet magic bytes not found in footer"))
    assert is_from_decoder(OSError("Couldn't deserialize thrift"))
    assert not is_from_decoder(pa.ArrowMemoryError("malloc of size 4294967296 failed"))
    assert not is_from_decoder(pa.ArrowCancelled("cancelled"))
    assert not is_from_decoder(OSError(errno.ENOSPC, "No space left on device"))
    assert not is_from_decoder(PermissionError("Access Denied"))


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: repr(trouble())[:30])
@pytest.mark.parametrize("from_source", [True, False])
def test_documents_of_a_storage_in_trouble_are_no_failed_records(
    trouble: Callable[[], Exception], from_source: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: str, limit: int) -> bytes:
        raise trouble()

    items = [Attachment("file", None, "memory://docs/a.pdf")]
    monkeypatch.setattr("classer_core.storage.reading._read_start", broken)
    with pytest.raises(StorageError, match=r"memory://docs/a\.pdf.* can't be read"):
        if from_source:
            fetch.read_files(items, ["memory://docs/*"], FetchRules())
        else:
            Fetcher(FetchRules(("memory://docs",))).fetch(items)


def test_local_documents_in_trouble_are_no_failed_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pdf").write_bytes(b"x")
    fetcher = Fetcher(FetchRules((str(tmp_path),), folder=str(tmp_path)))
    item = Attachment("file", None, "a.pdf")
    codes = {errno.EACCES: "fetch_failed", errno.EIO: None, errno.ESTALE: None, errno.EMFILE: None}
    for number, code in codes.items():

        def fail(*_: Any, number: int = number) -> int:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", fail)
            if code is None:
                with pytest.raises(StorageError, match=os.strerror(number)):
                    fetcher.fetch([item])
            else:
                [error] = fetcher.fetch([item])
                assert isinstance(error, RecordError) and error.code == code
    assert fetcher.fetch([item]) == [None]


def test_a_document_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    [error] = fetch.read_files(
        [Attachment("file", None, str(tmp_path / "none.pdf"))], [str(tmp_path / "*")], FetchRules()
    )
    assert error is not None and error.code == FailureCode.FILE_UNREADABLE


def test_a_folder_that_cant_be_listed_is_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's and Beam's listings leave it out without a word."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.ndjson").write_text("")
    assert len(match_files([f"{tmp_path}/**"])) == 2
    scandir = os.scandir

    def broken(path: Any) -> Any:
        if str(path).endswith("/b"):
            raise OSError(errno.ESTALE, "Stale file handle")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(OSError, match="Stale file handle"):
        match_files([f"{tmp_path}/**"])
    with pytest.raises(OSError, match="Stale file handle"):
        match_files([f"{tmp_path}/*/*.ndjson"])
    assert match_files([f"{tmp_path}/*.ndjson"]) == {}  # what can't match is not looked into


def test_files_that_are_gone_when_the_job_reads_are_no_empty_source(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="matches none now"):
        list_files([f"{tmp_path}/*.ndjson"])
