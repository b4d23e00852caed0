"""Sources: what `source:` of a job may be, one file a kind. A source knows its keys and how it is checked and read.

`BoundedSource`   ends: it has columns, is shared out in parts, and each part is read on whatever worker it falls to.
`StreamSource`    goes on: a queue of messages, each of them a record.

A new kind is one file here and one line in `pipelines/job/kinds.py`; `docs/extending.md` shows it. Libraries of a
source (Beam, clients of servers) are imported by its methods: checking a job loads none of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, field_validator

from pipelines.queues.event_time import MAX_FUTURE_S
from pipelines.sections import Patterns, Seconds, Section, check_fields

if TYPE_CHECKING:
    import apache_beam as beam
    import pyarrow as pa

    from pipelines.chunks import SourceChunk
    from pipelines.queues import QueueSettings
    from pipelines.readers import Columns, Scope
    from pipelines.selection import Selection


class Source(Section, ABC):
    """What all sources have. `columns` maps request field -> column of the source; see `Job.column_of`."""

    format: str
    columns: dict[str, str] = Field(default_factory=dict)

    @field_validator("columns")
    @classmethod
    def _known_fields(cls, value: dict[str, str]) -> dict[str, str]:
        check_fields(value)
        return value

    @property
    def is_stream(self) -> bool:
        """Whether records keep coming."""
        return False

    @property
    def place(self) -> str:
        """Return what is read, named as an output that writes there names it; empty if none can."""
        return ""

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of the files that are read; none if the source is not files."""
        return ()

    @property
    def own_files(self) -> tuple[str, ...]:
        """The patterns of the files that are records themselves; none unless the source is documents."""
        return ()

    @property
    def is_textual(self) -> bool:
        """Whether numbers, booleans and lists are written as text, as in CSV."""
        return False

    @property
    def watermark_column(self) -> str | None:
        """The column that says which rows are new since the last run, if there is one."""
        return None

    @abstractmethod
    def find_columns(self, selection: Selection) -> Columns:
        """Return the columns that a job takes, as the source has them.

        Raises:
            JobError: the source can't be read, or lacks a column that the job names.
        """


class PathSource(Source):
    """A source of files, which `path` names by patterns."""

    path: Patterns

    @property
    def patterns(self) -> tuple[str, ...]:
        """Return the patterns of the files."""
        return self.path

    def located(self, absolute: Callable[[str], str]) -> Self:
        """Return the same source; patterns that are not URLs start at the job file's folder."""
        return self.model_copy(update={"path": tuple(map(absolute, self.path))})


class BoundedSource(Source):
    """A source that ends."""

    @abstractmethod
    def arrow_schema(self) -> pa.Schema:
        """Return the source's columns with their types.

        Raises:
            JobError: the source can't be read.
        """

    @abstractmethod
    def parts(self, columns: Columns) -> Iterable[Any]:
        """Return the parts of the source, each of which can be read on its own; picklable. Called once a run."""

    @abstractmethod
    def read(self, part: Any, columns: Columns, folder: str) -> Iterator[SourceChunk]:
        """Yield the rows of one part. Damage is in a chunk's `failures`; trouble of a storage or a server is raised.

        Args:
            part: one of `parts`.
            columns: what to take.
            folder: names of files in ids are relative to it.
        """

    def find_columns(self, selection: Selection) -> Columns:
        """Return what a job takes of the columns in `arrow_schema`."""
        from pipelines.selection import select

        return select(self.arrow_schema(), self.columns, selection)

    def first_parts(self, chosen: Random) -> Iterator[Any]:
        """Yield parts to look at before a run. None, if reading them costs money, or tells nothing."""
        return iter(())

    def count_rows(self) -> int | None:
        """Return the number of records, if it is known without reading them."""
        return None

    def keep_watermark(
        self, table: str, scope: Scope, done: Sequence[Any], postponed: Any
    ) -> beam.PTransform[Any, Any] | None:
        """Return the step that remembers how far this run came; None without a watermark.

        Args:
            table: where it is remembered.
            scope: what the run has read.
            done: collections that are complete when all rows are written.
            postponed: numbers of records that are left for the next run.
        """
        return None


class StreamSource(Source):
    """A queue of messages. `stop_when_idle` is for a drain that is scheduled; without it a stream goes on."""

    stop_when_idle: Seconds | None = None
    max_future: Seconds = MAX_FUTURE_S  # event times that are further ahead of the clock count as none

    @property
    def is_stream(self) -> bool:
        """Messages keep coming."""
        return True

    @property
    def message_id_attribute(self) -> str | None:
        """The attribute that tells messages apart, if the server's ids don't."""
        return None

    @abstractmethod
    def queue(self, folder: str, outputs: tuple[str, ...]) -> QueueSettings:
        """Return what opens the queue.

        Args:
            folder: names of files in ids are relative to it.
            outputs: folders that the job writes rows to.
        """

    @abstractmethod
    def messages(self, folder: str) -> beam.PTransform[Any, Any]:
        """Return the step that reads `Message`s with Beam's own connector, for runners that know it."""

    def find_columns(self, selection: Selection) -> Columns:
        """Return what a job takes from messages."""
        from pipelines.selection import select_of_messages

        return select_of_messages(selection)
