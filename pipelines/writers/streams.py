"""WriteStream: writes the Arrow batches of a stream as whole files of a partitioned folder, next to those there are.

    <path>/date=2026-11-24/hour=10/part-<unique>.parquet       the hour is that of the records' event time, in UTC

Files are written under `<path>/_temporary` and get their final names at the end of each bundle, before its messages are
acknowledged. A process that is killed in between reads the same messages again, and drops what is published already.

Bundles of one process publish one after the other, each after a last look at what is published: an id is there once,
whoever reads it. Two processes that publish the same id at the same moment do not see each other.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.metrics import Metrics

from classer_core.source_file import open_reading
from classer_core.storage import join, move, open_writing, remove, remove_folder
from pipelines.classify import NAMESPACE
from pipelines.storage import match_files
from pipelines.writers.files import row_writer
from pipelines.writers.published import digest_of, shared_ids

# More partitions at once are rare, and cost a file each.
OPEN_FILES = 16
# What a process that was killed has left under `_temporary` is removed after so long.
STALE_S = 86_400.0


class WriteStream(beam.PTransform[Any, Any]):
    """Writes batches as files partitioned by the hour of their timestamps. Unbounded. Nothing goes to failures.

    Rows whose id the partition already holds, in any of `folders`, are dropped and counted as `duplicates`.

    Args:
        path: the folder, on any filesystem.
        format: parquet or ndjson.
        schema: of all batches.
        folders: all outputs of the job in which an id may be.
    """

    def __init__(self, path: str, format: str, schema: pa.Schema, folders: tuple[str, ...]) -> None:
        super().__init__()
        self._writer = WritePartitions(path, format, schema, folders)

    def expand(self, batches: Any) -> Any:
        """One step, so that files are there when the bundle ends."""
        return batches | "WritePartitions" >> beam.ParDo(self._writer)


class WritePartitions(beam.DoFn):
    """Batches in, nothing out; see `WriteStream`. A bundle that is tried again begins with no file and no id."""

    def __init__(self, path: str, format: str, schema: pa.Schema, folders: tuple[str, ...]) -> None:
        self._path = path
        self._format = format
        self._schema = schema
        self._folders = folders
        self._duplicates = Metrics.counter(NAMESPACE, "duplicates")

    def setup(self) -> None:
        """Begin without open files; files of this worker lie in a temporary folder of their own."""
        self._ids = shared_ids(self._folders)
        self._temporary = join(self._path, "_temporary", uuid.uuid4().hex)
        self._is_made = False
        self._open: OrderedDict[str, _File] = OrderedDict()
        self._closed: list[_File] = []

    def start_bundle(self) -> None:
        """No file before there are rows; files of a bundle that failed go."""
        for file in (*self._open.values(), *self._closed):
            file.abandon()
        self._open = OrderedDict()
        self._closed = []
        self._written: dict[str, set[bytes]] = {}

    def process(self, batch: pa.RecordBatch, timestamp: Any = beam.DoFn.TimestampParam) -> None:
        """Appends to the file of the batch's partition."""
        if not batch.num_rows:
            return
        partition = partition_of(timestamp.to_utc_datetime(has_tz=True))
        new = self._new_rows(batch, partition)
        self._duplicates.inc(batch.num_rows - len(new))
        if new:
            rows = batch if len(new) == batch.num_rows else batch.take(pa.array(list(new), pa.int32()))
            file = self._file(partition)
            file.writer.write(rows)
            file.ids.update(new.values())

    def finish_bundle(self) -> None:
        """Publish all files of the bundle, without the ids that another bundle has published meanwhile."""
        self._closed += list(self._open.values())
        self._open.clear()
        for file in self._closed:
            file.close()
        with self._ids.publishing():
            for file in self._closed:
                self._publish(file)
        self._closed, self._written = [], {}

    def teardown(self) -> None:
        """Leaves no empty folder."""
        if self._is_made:
            remove_folder(self._temporary)

    def _publish(self, file: _File) -> None:
        self._ids.refresh(file.partition)
        if known := self._ids.known(file.partition, file.ids):
            self._duplicates.inc(len(known))
            file.drop(known)
        if not file.ids:
            file.abandon()
            return
        path = join(self._path, file.partition, f"part-{uuid.uuid4().hex}.{self._format}")
        move([(file.path, path)])
        self._ids.add(file.partition, file.ids, path)

    def _new_rows(self, batch: pa.RecordBatch, partition: str) -> dict[int, bytes]:
        """Row -> digest of its id, of the rows that the partition does not have; they are the bundle's from now on."""
        ids: list[Any] = batch.column("id").to_pylist()
        digests = [digest_of(id_) for id_ in ids]
        seen = self._written.setdefault(partition, set())
        known = self._ids.known(partition, set(digests) - seen)
        new: dict[int, bytes] = {}
        for row, digest in enumerate(digests):
            if digest not in known and digest not in seen:
                seen.add(digest)
                new[row] = digest
        return new

    def _file(self, partition: str) -> _File:
        file = self._open.get(partition)
        if file is None:
            if len(self._open) >= OPEN_FILES:
                _, oldest = self._open.popitem(last=False)
                oldest.close()
                self._closed.append(oldest)
            if not self._is_made:
                remove_stale(join(self._path, "_temporary"))
                self._is_made = True
            file = _File(partition, join(self._temporary, uuid.uuid4().hex), self._format, self._schema)
            self._open[partition] = file
        self._open.move_to_end(partition)
        return file


class _File:
    """A temporary file of one partition, open until it is closed."""

    def __init__(self, partition: str, path: str, format: str, schema: pa.Schema) -> None:
        self.partition = partition
        self.ids: set[bytes] = set()
        self._format = format
        self._schema = schema
        self._begin(path)

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self.close()
            remove([self.path])

    def close(self) -> None:
        if not self._file.closed:
            self.writer.close()
            self._file.close()

    def drop(self, ids: set[bytes]) -> None:
        """Write the closed file again without the rows of these ids."""
        self.ids -= ids
        if not self.ids:
            return
        before = self.path
        self._begin(f"{before}-less")
        with open_reading(before) as file:
            if self._format == "parquet":
                parquet: Any = file
                for rows in pq.ParquetFile(parquet).iter_batches():
                    written: list[Any] = rows.column("id").to_pylist()
                    left = [row for row, id_ in enumerate(written) if digest_of(id_) not in ids]
                    batch = pa.RecordBatch.from_arrays(rows.columns, schema=self._schema)
                    self.writer.write(batch.take(pa.array(left, pa.int32())))
            else:
                self._file.writelines(line for line in file if digest_of(orjson.loads(line)["id"]) not in ids)
        self.close()
        remove([before])

    def _begin(self, path: str) -> None:
        self.path = path
        self._file = open_writing(path)
        self.writer = row_writer(self._file, self._format, self._schema)


def partition_of(moment: datetime) -> str:
    """Hive's way to name the folder of an hour."""
    moment = moment.astimezone(UTC)
    return f"date={moment:%Y-%m-%d}/hour={moment:%H}"


def remove_stale(folder: str) -> None:
    """Removes what killed processes have left in a temporary folder; others may be at work in it."""
    there = match_files([join(folder, "**")])
    remove(found.path for found in there.values() if found.modified < time.time() - STALE_S)
