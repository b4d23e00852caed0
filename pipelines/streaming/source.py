"""QueueSource: a queue as one of Beam's unbounded sources, whose elements are chunks of checked records."""

from __future__ import annotations

import pickle
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.io.unbounded_source import CheckpointMark, ReadFromUnboundedSource, UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp
from typing_extensions import override

from classer_core.cached import CachedEngine
from classer_core.fetching.rules import FetchRules
from classer_core.hardware import bound_kernel_caches
from pipelines.chunks import Chunk
from pipelines.queues import Message, QueueSettings
from pipelines.readers import Columns
from pipelines.requests import Requests
from pipelines.streaming.parsing import Entry, MessageParser, pack
from pipelines.streaming.polling import Poller, poller
from pipelines.streaming.preparation import Preparation
from pipelines.streaming.refreshing import Refresher

# A bundle, and with it a file of each partition, ends when its messages are so many bytes at the latest.
BUNDLE_BYTES = 256 << 20
# Without any record a bundle ends so soon, for a runner that wants to make a checkpoint.
IDLE_BUNDLE_S = 1.0
NO_LIMIT_RECORDS, NO_LIMIT_S = 1 << 30, 1e9

_readers: weakref.WeakValueDictionary[str, QueueReader] = weakref.WeakValueDictionary()


@dataclass(frozen=True)
class Stream:
    """The settings of a reader, which travel to the workers.

    Args:
        columns: what is taken from messages.
        requests: how they become records.
        classifiers: the folder of saved classifiers.
        refresh_s: how often new versions of those are looked for.
        rules: what records may reach.
        load: loads the engine; called once per worker process.
        bundle_s: how long the records of one bundle, and so of one file, are gathered at most.
        own_files: patterns of the source, if attachments are files of it.
        id_attribute: the attribute that tells messages apart.
        stop_when_idle_s: after how long without messages the stream ends; None lets it go on.
    """

    columns: Columns
    requests: Requests
    classifiers: str
    refresh_s: float
    rules: FetchRules
    load: Callable[[], CachedEngine]
    bundle_s: float
    own_files: tuple[str, ...] = ()
    id_attribute: str | None = None
    stop_when_idle_s: float | None = None


class ReadStream(beam.PTransform[Any, Any]):
    """Reads a queue. Unbounded, unless the job says when it is to stop.

    Messages that are no records are in their chunk's `failures`. Messages are acknowledged when the bundle that they
    were read in is committed, so what follows has to be without a shuffle up to the sinks.

    Args:
        stream: what readers have to know.
        settings: what opens the queue.
        readers: how many readers share it, at most.
    """

    def __init__(self, stream: Stream, settings: QueueSettings, readers: int = 1) -> None:
        super().__init__()
        self._source = QueueSource(stream, settings, readers)

    def expand(self, pbegin: Any) -> Any:
        """The reader itself decides when a bundle ends."""
        return pbegin | ReadFromUnboundedSource(self._source, 0.0, NO_LIMIT_RECORDS, NO_LIMIT_S)


class _AlwaysPickledAlike:
    """Gives the same bytes each time, for Beam finds the reader of a stream by those of its source and mark.

    Pickle itself does not: what it writes depends on which equal strings are one object.
    """

    _bytes: bytes | None = None

    def _arguments(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        if self._bytes is None:
            self._bytes = pickle.dumps(self._arguments())
        return _unpickled, (type(self), self._bytes)


def _unpickled(kind: type[_AlwaysPickledAlike], arguments: bytes) -> _AlwaysPickledAlike:
    made = kind(*pickle.loads(arguments))
    made._bytes = arguments
    return made


class QueueSource(_AlwaysPickledAlike, UnboundedSource):
    """See `ReadStream`."""

    def __init__(self, stream: Stream, settings: QueueSettings, readers: int = 1) -> None:
        self.stream = stream
        self.settings = settings
        self._readers = readers

    def _arguments(self) -> tuple[Any, ...]:
        return self.stream, self.settings, self._readers

    def split(self, desired_num_splits: int, options: Any = None) -> Iterable[UnboundedSource]:
        """As many as the job's workers read at once: a worker that reads several takes turns, and one holds up all."""
        return [QueueSource(self.stream, part) for part in self.settings.split(self._readers)]

    def create_reader(self, options: Any, checkpoint_mark: CheckpointMark | None) -> UnboundedReader:
        """A reader that goes on after a mark: the one that made it, if it is in this process and still there.

        A runner that ends bundles long before it commits them, as Flink does, works on the next one in another copy of
        this step, which does not find the reader that the last copy keeps.
        """
        bound_kernel_caches()
        if not isinstance(checkpoint_mark, QueueMark):
            return QueueReader(self.stream, self.settings, None)
        found = _readers.get(checkpoint_mark.reader)
        if found is not None and found.goes_on_after(checkpoint_mark.number):
            return found
        return QueueReader(self.stream, self.settings, checkpoint_mark.position)

    def get_checkpoint_mark_coder(self) -> Any:
        """Marks are small."""
        return coders.PickleCoder()


class QueueMark(_AlwaysPickledAlike, CheckpointMark):
    """All that a reader emitted up to some moment.

    Args:
        reader: name of its poller.
        number: of the mark.
        position: what resumes the queue elsewhere.
    """

    def __init__(self, reader: str, number: int, position: Any) -> None:
        self.reader = reader
        self.number = number
        self.position = position

    def _arguments(self) -> tuple[Any, ...]:
        return self.reader, self.number, self.position

    def finalize_checkpoint(self) -> None:
        """Acknowledges; a reader that is gone has its messages delivered again, or goes on after its position."""
        found = poller(self.reader)
        if found is not None:
            found.written(self.number)


class QueueReader(UnboundedReader):
    """Chunks of one queue, and the bundles that they make. It closes when all that keep it have closed it."""

    def __init__(self, stream: Stream, settings: QueueSettings, position: Any) -> None:
        self._stream = stream
        self._refresher = Refresher(stream.requests, stream.classifiers, stream.refresh_s)
        self._poller = Poller(
            settings.open,
            position,
            self._parse,
            self._preparation,
            stream.stop_when_idle_s,
        )
        self._entries: list[Entry] = []
        self._taken_at = 0.0
        self._began_at: float | None = None  # the bundle, with its first chunk
        self._most_records = settings.bundle_records
        self._records = self._bytes = 0
        self._watermark = MIN_TIMESTAMP
        self._keepers = 1
        self._is_started = False
        _readers[self._poller.name] = self

    def goes_on_after(self, mark: int) -> bool:
        """Whether the next bundle after this mark can be read here; then there is one more to close it.

        If not, somebody goes back to an earlier mark, and this reader is of no use any more.
        """
        if not self._poller.is_between_bundles or self._poller.last_mark != mark:
            self._close()
            return False
        self._keepers += 1
        return True

    def start(self) -> bool:
        """Opens the queue, once."""
        if not self._is_started:
            self._is_started = True
            self._refresher.start()
            self._poller.start()
        return self.advance()

    def advance(self) -> bool:
        """The next chunk; blocks for as long as the bundle may last: without that, quiet streams make tiny files."""
        now = time.monotonic()
        if self._entries:
            self._poller.measure(self._entries, now - self._taken_at)
            self._entries = []
        left_s = IDLE_BUNDLE_S if self._began_at is None else self._began_at + self._stream.bundle_s - now
        if left_s <= 0 or self._records >= self._most_records or self._bytes >= BUNDLE_BYTES:
            return False
        self._entries = self._poller.take(left_s)
        if not self._entries:
            return False
        self._taken_at = time.monotonic()
        self._began_at = self._began_at or self._taken_at
        self._records += len(self._entries)
        self._bytes += sum(entry.size_bytes for entry in self._entries)
        return True

    def get_current(self) -> Chunk:
        """The chunk."""
        return pack(self._entries, self._stream.columns.passed)

    def get_current_timestamp(self) -> Timestamp:
        """The event time of one of its records; all are of one hour."""
        return Timestamp.from_utc_datetime(self._entries[0].published_at)

    def get_watermark(self) -> Timestamp:
        """The end of time once nothing more will come."""
        if self._poller.is_ended:
            return MAX_TIMESTAMP
        if self._entries:
            self._watermark = max(self._watermark, self.get_current_timestamp())
        return self._watermark

    def get_checkpoint_mark(self) -> QueueMark:
        """Ends the bundle."""
        self._began_at = None
        self._records = self._bytes = 0
        return QueueMark(self._poller.name, *self._poller.mark())

    @override
    def close(self) -> None:
        """A bundle that failed closes it whoever keeps it."""
        self._keepers -= 1
        if self._keepers < 1 or self._poller.is_ended or not self._poller.is_between_bundles:
            self._close()

    def _close(self) -> None:
        self._refresher.close()
        self._poller.close()

    def _parse(self, messages: Sequence[Message]) -> list[Entry]:
        stream = self._stream
        return MessageParser(stream.columns, self._refresher.requests, stream.id_attribute).parse(messages)

    def _preparation(self, ready: Callable[[Entry], None], broken: Callable[[BaseException], None]) -> Preparation:
        stream = self._stream
        return Preparation(stream.load, stream.rules, stream.own_files, stream.columns.passed, ready, broken)
