"""FolderQueue: new files of a folder as messages. Files of which the output has the answer are not read again."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.chunks import printable
from pipelines.queues import Message, Queue
from pipelines.queues.event_time import EPOCH, MAX_FUTURE_S, not_ahead
from pipelines.storage import display_name, match_files
from pipelines.writers.published import PublishedIds, digest_of, shared_ids
from pipelines.writers.streams import partition_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderQueueSettings:
    """Files that patterns match; each is a message of its own, whose id is its path.

    Args:
        patterns: as of a source of documents.
        watch_s: how often new files are looked for.
        folder: ids are relative to it.
        outputs: folders of the job's rows, as `WriteStream` makes them; none where rows go elsewhere.
        max_future_s: how far ahead of the clock a file may have been written.
    """

    patterns: tuple[str, ...]
    watch_s: float
    folder: str
    outputs: tuple[str, ...] = ()
    max_future_s: float = MAX_FUTURE_S
    bundle_records: int = 10_000

    def check(self) -> None:
        """A pattern that matches nothing yet is fine."""

    def open(self, position: dict[str, Look] | None) -> Queue:
        """See `QueueSettings.open`."""
        return FolderQueue(self, position)

    def split(self, parts: int) -> Sequence[FolderQueueSettings]:
        """One looks at all."""
        return [self]


Look = tuple[int, float]  # a file's size in bytes and when it was last written to, in seconds since 1970


class FolderQueue:
    """See `Queue`. A file is a message when two looks at it find the same size and time; later ones are a new message.

    Published rows are known by path and hour: after a restart, a file that was replaced within the hour of the version
    that has been published is taken for that one.

    Receipts are (path, look). Where outputs have no ids to look up, a restart without a checkpoint reads them all.
    """

    def __init__(self, settings: FolderQueueSettings, position: dict[str, Look] | None) -> None:
        self._settings = settings
        self._published: PublishedIds | None = shared_ids(settings.outputs) if settings.outputs else None
        self._emitted: dict[str, Look] = dict(position or {})
        self._taken: dict[str, Look] = dict(self._emitted)
        self._last_look: dict[str, Look] = {}
        self._due: list[tuple[str, Look]] = []
        self._next_look_at = 0.0

    def poll(self, timeout_s: float, limit: int) -> list[Message]:
        """See `Queue.poll`."""
        if limit < 1:
            return []
        if not self._due and time.monotonic() >= self._next_look_at:
            self._look()
            self._next_look_at = time.monotonic() + self._settings.watch_s
        if not self._due:
            time.sleep(min(timeout_s, max(0.0, self._next_look_at - time.monotonic())))
            return []
        found, self._due = self._due[:limit], self._due[limit:]
        self._taken.update(found)
        settings = self._settings
        return [file_message(path, look, settings.folder, settings.max_future_s) for path, look in found]

    def acknowledge(self, receipts: Sequence[tuple[str, Look]]) -> None:
        """The published rows are what is remembered."""

    def give_back(self, receipts: Sequence[tuple[str, Look]]) -> None:
        """See `Queue.give_back`."""
        for path, look in receipts:
            if self._taken.get(path) == look:
                del self._taken[path]

    def position(self, emitted: Collection[tuple[str, Look]]) -> dict[str, Look] | None:
        """See `Queue.position`: the files, as they were read, where published rows don't say it."""
        if self._published is not None:
            return None
        self._emitted = {**self._emitted, **dict(emitted)}
        return self._emitted

    def close(self) -> None:
        """Nothing is open."""

    def _look(self) -> None:
        try:
            files = match_files(self._settings.patterns)
        except Exception as error:  # whatever a storage library raises: it may be back at the next look
            log.warning(
                "files can't be listed, the next look is in %g s: %s", self._settings.watch_s, type(error).__name__
            )
            return
        now = time.time()
        found = {path: (file.size, file.modified) for path, file in files.items()}
        new = [
            (path, look)
            for path, look in sorted(found.items(), key=lambda item: (item[1][1], item[0]))
            if self._taken.get(path) != look
            and (self._last_look.get(path) == look or look[1] < now - 2 * self._settings.watch_s)
        ]
        self._last_look = found
        # Files that are gone are forgotten.
        self._taken = {path: look for path, look in self._taken.items() if path in found}
        self._emitted = {path: look for path, look in self._emitted.items() if path in found}
        done = self._done(new)
        self._taken.update(done)
        self._due = [(path, look) for path, look in new if path not in done]

    def _done(self, files: Sequence[tuple[str, Look]]) -> dict[str, Look]:
        """Those whose rows are published."""
        if self._published is None:
            return {}
        by_partition: dict[str, dict[bytes, tuple[str, Look]]] = {}
        for path, look in files:
            id_ = digest_of(_id(path, self._settings.folder))
            by_partition.setdefault(partition_of(_moment(look, self._settings.max_future_s)), {})[id_] = path, look
        return dict(
            ids[id_] for partition, ids in by_partition.items() for id_ in self._published.known(partition, list(ids))
        )


def file_message(path: str, look: Look, folder: str, max_future_s: float = MAX_FUTURE_S) -> Message:
    """Return a file as a message, whose id is its path relative to a folder."""
    body = json.dumps({"file": path}).encode()  # escapes what of a name is not UTF-8; the parser makes it a failure
    return Message(_id(path, folder), body, _moment(look, max_future_s), (path, look))


def _id(path: str, folder: str) -> str:
    """The id as rows have it."""
    return printable(display_name(path, folder))


def _moment(look: Look, max_future_s: float) -> datetime:
    """Return when a file was written; 1970 if that is too far ahead, or not a time.

    Not now: after a restart the answer is looked for in the hour of this time, which has to be the same one then.
    """
    try:
        return not_ahead(datetime.fromtimestamp(look[1], UTC), max_future_s, EPOCH)
    except (ValueError, OverflowError, OSError):
        return EPOCH
