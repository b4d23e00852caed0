"""FetchContents: chunks of records in, the same with the bytes of their attachments out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import apache_beam as beam

from classer_core.contents import Attachment
from classer_core.errors import FailureCode, RecordError
from classer_core.fetching import Fetcher, FetchRules
from classer_core.fetching.rules import MAX_BYTES, redacted, too_large
from classer_core.patience import failure_of
from classer_core.records import Record
from classer_core.storage import read_start
from pipelines.chunks import Chunk

# What is attached travels in small chunks: its bytes and pixels are in memory at once. A record may have 21 by itself.
ATTACHMENTS_AT_ONCE = 16
FILE_THREADS = 16


class FetchContents(beam.DoFn):
    """Fetches the attachments of chunks; chunks without any go through as they are.

    Args:
        rules: what records may reach.
        from_source: whether attachments are files of the job's own source, which it may read.
    """

    def __init__(self, rules: FetchRules, from_source: bool = False) -> None:
        self._rules = rules
        self._from_source = from_source

    def process(self, chunk: Chunk) -> Iterable[Chunk]:
        """Records whose attachments can't be had are in the `failures` of what comes out."""
        if not any(record.attachments for record in chunk.records):
            yield chunk
            return
        for start, end in _parts(chunk.records):
            yield self._fetch(chunk.part(start, end))

    def _fetch(self, chunk: Chunk) -> Chunk:
        began = time.perf_counter()
        attachments = [item for record in chunk.records for item in record.attachments]
        found = read_files(attachments) if self._from_source else shared_fetcher(self._rules).fetch(attachments)
        elapsed_ms = (time.perf_counter() - began) * 1000
        outcomes = iter(found)
        errors: dict[int, RecordError] = {}
        for row, record in enumerate(chunk.records):
            record.fetch_ms = elapsed_ms * len(record.attachments) / max(len(attachments), 1)
            for item in record.attachments:
                error = next(outcomes)
                if error is not None:
                    errors.setdefault(row, RecordError(error.code, error.message, item.field))
        return chunk.without(errors, "fetch")


def _parts(records: Sequence[Record]) -> Iterator[tuple[int, int]]:
    """(start, end) of runs of records that have few enough attachments; texts in between cost nothing."""
    start = attached = 0
    for row, record in enumerate(records):
        count = len(record.attachments)
        if attached and count and attached + count > ATTACHMENTS_AT_ONCE:
            yield start, row
            start, attached = row, 0
        attached += count
    yield start, len(records)


@lru_cache(maxsize=4)
def shared_fetcher(rules: FetchRules) -> Fetcher:
    """One fetcher per process: connections are reused by all bundles."""
    return Fetcher(rules)


def read_files(attachments: list[Attachment]) -> list[RecordError | None]:
    """Fills `data` of attachments whose sources are files of the job's own source; errors in their places."""
    with ThreadPoolExecutor(FILE_THREADS) as threads:
        return list(threads.map(_read_file, attachments))


def _read_file(item: Attachment) -> RecordError | None:
    """Read one file. Only one that is gone is the record's failure: a storage in trouble ends the run."""
    path = str(item.source)
    try:
        data = read_start(path, MAX_BYTES + 1)
    except FileNotFoundError:
        message = f"{redacted(path)} can't be read: it is not there any more"
        return RecordError(FailureCode.FILE_UNREADABLE, message, "file")
    except Exception as error:
        raise failure_of(redacted(path), error) from error
    if len(data) > MAX_BYTES:
        return too_large(path)
    item.data = data
    return None
