"""PublishedIds: which ids the files of a partitioned output already hold, so that none is written twice."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from classer_core.storage import join, list_folder
from pipelines.shared import Shared
from pipelines.storage import open_file
from pipelines.writers.files import name_of

# Partitions whose ids are kept at hand; those of others are read again from their files when they are needed.
PARTITIONS_KEPT = 48
ROWS_TOGETHER = 1_000
ID_BYTES = 16


class PublishedIds:
    """The ids in the files of some folders, partition by partition. The files are the truth; this is a copy, on disk.

    Args:
        folders: outputs with the same partitions; an id that is in one of them is in none of the others.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = folders
        self._lock = threading.Lock()
        self._publishing = threading.Lock()
        self._files: dict[str, set[str]] = {}  # of each partition, those whose ids are here
        self._partitions: OrderedDict[str, int] = OrderedDict()
        self._last_number = 0
        scratch = tempfile.mkdtemp(prefix="classer-")
        self._table = sqlite3.connect(Path(scratch) / "ids", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, _remove, self._table, scratch)
        self._table.execute("PRAGMA journal_mode = OFF")
        self._table.execute("PRAGMA synchronous = OFF")
        self._table.execute("CREATE TABLE ids (partition INTEGER, id BLOB, PRIMARY KEY (partition, id)) WITHOUT ROWID")

    def known(self, partition: str, ids: Collection[bytes]) -> set[bytes]:
        """Return those of the ids (as `digest_of` them) that a partition holds, as far as this process knows."""
        found: set[bytes] = set()
        with self._lock:
            number = self._number(partition)
            for part in _parts(ids):
                query = f"SELECT id FROM ids WHERE partition = ? AND id IN ({','.join('?' * len(part))})"
                found.update(row[0] for row in self._table.execute(query, (number, *part)))
        return found

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Keep other bundles of this process from publishing: the last look and the publishing are one step."""
        with self._publishing:
            yield

    def refresh(self, partition: str) -> None:
        """Read the files that other processes have published since the last look."""
        with self._lock:
            self._read_new(partition, self._number(partition))

    def add(self, partition: str, ids: Collection[bytes], path: str) -> None:
        """Remember the ids of a file that this process has just published."""
        with self._lock:
            self._insert(self._number(partition), ids)
            self._files[partition].add(path)

    def _number(self, partition: str) -> int:
        number = self._partitions.get(partition)
        if number is None:
            self._last_number += 1
            number = self._last_number
            self._files[partition] = set()
            self._read_new(partition, number)
            self._partitions[partition] = number
            while len(self._partitions) > PARTITIONS_KEPT:
                name, oldest = self._partitions.popitem(last=False)
                del self._files[name]
                self._table.execute("DELETE FROM ids WHERE partition = ?", (oldest,))
        self._partitions.move_to_end(partition)
        return number

    def _read_new(self, partition: str, number: int) -> None:
        read = self._files[partition]
        for folder in self._folders:
            for path in files_of(join(folder, partition)):
                if path not in read:
                    self._insert(number, map(digest_of, ids_in(path)))
                    read.add(path)

    def _insert(self, number: int, ids: Iterable[bytes]) -> None:
        for part in _parts(ids):
            values = [value for id_ in part for value in (number, id_)]
            self._table.execute(f"INSERT OR IGNORE INTO ids VALUES {','.join(['(?,?)'] * len(part))}", values)


_shared: Shared[PublishedIds] = Shared()


def shared_ids(folders: tuple[str, ...]) -> PublishedIds:
    """One per process and set of folders, as long as anybody uses it."""
    return _shared.get(folders, lambda: PublishedIds(folders))


def digest_of(id_: str) -> bytes:
    """Return the digest by which an id is remembered."""
    return hashlib.blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=ID_BYTES).digest()


def files_of(folder: str) -> list[str]:
    """The published files of a partition."""
    return [found.path for found in list_folder(folder) if name_of(found.path).startswith("part-")]


def _remove(table: sqlite3.Connection, scratch: str) -> None:
    table.close()
    shutil.rmtree(scratch, ignore_errors=True)


def ids_in(path: str) -> list[str]:
    """Return the ids of a published file.

    Raises:
        RuntimeError: it is not a file of a stream, or damaged: without its ids, rows would come twice.
    """
    try:
        with open_file(path) as file:
            if path.endswith(".parquet"):
                ids: list[Any] = pq.read_table(file, columns=["id"]).column("id").to_pylist()
            else:
                ids = [orjson.loads(line)["id"] for line in file]
    except (pa.ArrowInvalid, pa.ArrowKeyError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise _unreadable(path, str(error)) from error
    if not all(isinstance(id_, str) for id_ in ids):
        raise _unreadable(path, "it has rows without an id")
    return ids


def _unreadable(path: str, reason: str) -> RuntimeError:
    reason = (reason.splitlines() or [""])[0][:200].rstrip(".")
    return RuntimeError(
        f"{path}: its ids can't be read: {reason}. Move it out of the output: rows with its ids may come again then."
    )


def _parts(ids: Iterable[bytes]) -> Iterator[list[bytes]]:
    left = iter(ids)
    while part := list(islice(left, ROWS_TOGETHER)):
        yield part
