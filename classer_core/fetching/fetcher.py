"""Fetcher: get the bytes of attachments from bytes, base64, paths, object stores and HTTP, many at once."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from classer_core.classifiers import shown
from classer_core.contents import Attachment
from classer_core.errors import FailureCode, RecordError
from classer_core.fetching.http import HttpFetcher
from classer_core.fetching.rules import MAX_BYTES, FetchRules, inline_bytes, redacted, too_large
from classer_core.filesystems import scheme_of
from classer_core.patience import failure_of, patient
from classer_core.storage import read_start

# Errors that the path in a record causes; all others are errors of the storage.
_OF_THE_PATH = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ENXIO}
STORAGE_SCHEMES = {"gs", "gcs", "s3", "s3a", "abfs", "az", "memory"}
PATH_THREADS = 16


class Fetcher:
    """Gets the bytes of attachments. Thread-safe; all HTTP runs on one event loop.

    Args:
        rules: what the job allows records to reach.
    """

    def __init__(self, rules: FetchRules) -> None:
        self._rules = rules
        self._roots = [Path(os.path.realpath(_local(path, rules))) for path in rules.allow_paths if not scheme_of(path)]
        self._prefixes = [path.rstrip("/") + "/" for path in rules.allow_paths if scheme_of(path)]
        self._threads = ThreadPoolExecutor(PATH_THREADS, thread_name_prefix="fetch")
        self._lock = threading.Lock()
        self._http: _HttpThread | None = None

    def fetch(self, attachments: Sequence[Attachment]) -> list[RecordError | None]:
        """Set `data` of each attachment; equal sources are fetched once.

        Returns:
            Per attachment, the error if it can't be fetched, else None.

        Raises:
            StorageError: an allowed storage fails for longer than it is retried.
        """
        sources = {id(item): item.source for item in attachments}
        distinct: dict[str | bytes, list[Attachment]] = {}
        for item in attachments:
            distinct.setdefault(sources[id(item)], []).append(item)
        pending = {source: self._submit(source, items[0].place) for source, items in distinct.items()}
        outcomes: dict[str | bytes, RecordError | None] = {}
        for source, items in distinct.items():
            try:
                data = pending[source].result()
                for item in items:
                    item.data = data
                outcomes[source] = None
            except RecordError as error:
                outcomes[source] = error
        return [outcomes[sources[id(item)]] for item in attachments]

    def close(self) -> None:
        """End all threads and connections."""
        self._threads.shutdown()
        if self._http is not None:
            self._http.close()

    def _submit(self, source: str | bytes, place: str) -> Future[bytes]:
        if isinstance(source, str) and scheme_of(source) in ("http", "https"):
            with self._lock:
                self._http = self._http or _HttpThread(self._rules)
            return self._http.fetch(source, place)
        return self._threads.submit(self._get, source, place)

    def _get(self, source: str | bytes, place: str) -> bytes:
        if isinstance(source, bytes):
            if len(source) > MAX_BYTES:
                raise too_large(place, len(source))
            return source
        if (inline := inline_bytes(source, place)) is not None:
            return inline
        scheme = scheme_of(source)
        if scheme in STORAGE_SCHEMES:
            return self._from_storage(source, place)
        if scheme:
            message = f"{place}: the scheme {scheme}: is not supported, got {redacted(source)}"
            raise RecordError(FailureCode.SCHEME_NOT_ALLOWED, message, place)
        return self._from_path(source, place)

    def _from_storage(self, url: str, place: str) -> bytes:
        inside = any(url.startswith(prefix) for prefix in self._prefixes)
        if not inside or ".." in url.split("/"):
            raise self._outside(redacted(url), place)
        try:
            data = read_start(url, MAX_BYTES + 1)
        except FileNotFoundError as error:
            message = f"{place}: {redacted(url)} is not there"
            raise RecordError(FailureCode.CONTENT_NOT_FOUND, message, place) from error
        except Exception as error:  # not the record's fault: a storage that the job allows is failing
            raise failure_of(f"{place}: {redacted(url)}", error) from error
        if len(data) > MAX_BYTES:
            raise too_large(place)
        return data

    def _from_path(self, path: str, place: str) -> bytes:
        if "\x00" in path or len(path) > 4_096:
            raise RecordError(
                FailureCode.URL_INVALID, f"{place}: must be a URL, base64 or a path, got {shown(path)}", place
            )
        real = Path(os.path.realpath(Path(self._rules.folder) / path))
        if not any(real.is_relative_to(root) for root in self._roots):
            raise self._outside(shown(path), place)
        try:
            descriptor = _open(real)
        except FileNotFoundError as error:
            raise RecordError(FailureCode.CONTENT_NOT_FOUND, f"{place}: {shown(path)} is not there", place) from error
        except OSError as error:
            if error.errno not in _OF_THE_PATH:
                raise failure_of(f"{place}: {shown(path)}", error) from error
            message = f"{place}: {shown(path)} can't be read: {error.strerror}"
            raise RecordError(FailureCode.FETCH_FAILED, message, place) from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise RecordError(FailureCode.PATH_NOT_ALLOWED, f"{place}: {shown(path)} is not a file", place)
            if status.st_size > MAX_BYTES:
                raise too_large(place, status.st_size)
            return _read(descriptor)
        except OSError as error:
            raise failure_of(f"{place}: {shown(path)}", error) from error
        finally:
            os.close(descriptor)

    def _outside(self, path: str, place: str) -> RecordError:
        allowed = ", ".join(self._rules.allow_paths) or "none"
        message = f"{place}: {path} is outside the job's allow_paths ({allowed})"
        return RecordError(FailureCode.PATH_NOT_ALLOWED, message, place)


@patient
def _open(path: Path) -> int:
    # O_NONBLOCK: opening a named pipe would block. O_NOFOLLOW: the path has been resolved already.
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)


@patient
def _read(descriptor: int) -> bytes:
    """Return a file's content from its start, also when a retry calls this again."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read()


class _HttpThread:
    """The event loop of all HTTP requests, in a thread of its own, which ends when this object is no longer used."""

    def __init__(self, rules: FetchRules) -> None:
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="fetch-loop", daemon=True)
        thread.start()
        self._fetcher = asyncio.run_coroutine_threadsafe(_http_fetcher(rules), self._loop).result()
        self.close = weakref.finalize(self, _end, self._fetcher, self._loop, thread)

    def fetch(self, url: str, place: str) -> Future[bytes]:
        return asyncio.run_coroutine_threadsafe(self._fetcher.fetch(url, place), self._loop)


async def _http_fetcher(rules: FetchRules) -> HttpFetcher:
    """Return a fetcher bound to the running event loop."""
    return HttpFetcher(rules)


def _end(fetcher: HttpFetcher, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    asyncio.run_coroutine_threadsafe(fetcher.close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def _local(path: str, rules: FetchRules) -> Path:
    return Path(rules.folder) / Path(path).expanduser()
