"""FetchContents: fetch the bytes of the attachments of chunks of records."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path

import apache_beam as beam

from classer_core.contents import Attachment
from classer_core.errors import FailureCode, RecordError
from classer_core.fetching import Fetcher, FetchRules
from classer_core.fetching.rules import MAX_BYTES, redacted, too_large
from classer_core.filesystems import is_url
from classer_core.patience import failure_of
from classer_core.records import Record
from classer_core.storage import read_start
from pipelines.chunks import Chunk
from pipelines.storage import fixed_folder

# What is attached travels in small chunks: its bytes and pixels are in memory at once. A record may have 21 by itself.
ATTACHMENTS_AT_ONCE = 16
FILE_THREADS = 16


class FetchContents(beam.DoFn):
    """Fetches the attachments of chunks; chunks without any go through as they are.

    Args:
        rules: what records may reach.
        own_files: patterns of the job's source, if attachments are files of it: it may read them.
    """

    def __init__(self, rules: FetchRules, own_files: Sequence[str] = ()) -> None:
        self._rules = rules
        self._own_files = tuple(own_files)

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
        if self._own_files:
            found = read_files(attachments, self._own_files, self._rules)
        else:
            found = shared_fetcher(self._rules).fetch(attachments)
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


def read_files(attachments: list[Attachment], patterns: Sequence[str], rules: FetchRules) -> list[RecordError | None]:
    """Fills `data` of attachments whose sources are files that `patterns` match; errors in their places."""
    roots = own_roots(tuple(patterns), rules)
    with ThreadPoolExecutor(FILE_THREADS) as threads:
        return list(threads.map(partial(_read_file, roots=roots), attachments))


@lru_cache(maxsize=4)
def own_roots(patterns: tuple[str, ...], rules: FetchRules) -> tuple[str, ...]:
    """Return the real folders that files of a source may lie in: those that its patterns name, and the allowed ones."""
    # A pattern that is the path of one file may be a link itself: the job names it.
    local = [place for pattern in patterns if not is_url(pattern) for place in (pattern, fixed_folder(pattern))]
    allowed = [os.path.join(rules.folder, path) for path in rules.allow_paths if not is_url(path)]  # noqa: PTH118
    return tuple(os.path.realpath(folder) for folder in local + allowed)


def _read_file(item: Attachment, roots: Sequence[str]) -> RecordError | None:
    """Read one file. Only one that is gone, or not to be read, is the record's failure: other trouble ends the run."""
    path = str(item.source)
    try:
        real = path
        if not is_url(path):
            # Whoever may write into the folder must not make the job read files elsewhere.
            real = os.path.realpath(path)
            if not any(Path(real).is_relative_to(root) for root in roots):
                message = f"{path} is a link out of the source's folder: allow_paths may name the folder it leads to"
                return RecordError(FailureCode.PATH_NOT_ALLOWED, message, "file")
            if Path(real).exists() and not Path(real).is_file():  # a named pipe would be waited for
                return RecordError(FailureCode.FILE_UNREADABLE, f"{path} is not a file", "file")
        data = read_start(real, MAX_BYTES + 1)
    except FileNotFoundError:
        message = f"{redacted(path)} can't be read: it is not there any more"
        return RecordError(FailureCode.FILE_UNREADABLE, message, "file")
    except Exception as error:
        raise failure_of(redacted(path), error) from error
    if len(data) > MAX_BYTES:
        return too_large(path)
    item.data = data
    return None
