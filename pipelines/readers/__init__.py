"""Readers: read a file of a source as chunks of rows. They know bytes and Arrow, and nothing of Beam's graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple, Protocol

import pyarrow as pa

from classer_core.errors import FailureCode
from classer_core.records import Failure
from pipelines.chunks import SourceChunk


@dataclass(frozen=True)
class Part:
    """A share of a file that is read on its own: bytes, or row groups, from `start` up to `end` (None: to the end)."""

    start: int = 0
    end: int | None = None


class Scope(NamedTuple):
    """Rows of a table as they were at a moment, those whose watermark is from `since` (None: any) up to `until`."""

    as_of: datetime | None = None
    since: Any = None
    until: Any = None


NOW = Scope()


@dataclass(frozen=True)
class Columns:
    """The columns taken from a source.

    Attributes:
        fields: request field -> column, or dotted name of a field inside a column.
        passed: the columns that pass through.
        scope: the rows of a table that are read, and as they were when.
        paths: of the columns in `fields` that are fields inside columns, the names that lead there.
        partitions: the columns that are folders of the files' paths.
    """

    fields: dict[str, str]
    passed: pa.Schema
    scope: Scope = NOW
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    partitions: frozenset[str] = frozenset()

    def path_of(self, column: str) -> tuple[str, ...]:
        """Return the names that lead to a column of `fields`, a top-level column first."""
        return self.paths.get(column, (column,))

    @property
    def needed(self) -> list[str]:
        """The top-level columns that are read, each once."""
        return list(dict.fromkeys([*(self.path_of(column)[0] for column in self.fields.values()), *self.passed.names]))


class Reader(Protocol):
    """Reads files of one format.

    `name` in what follows is how the file is called in ids and messages. Damage (`DamagedFileError`) ends as the file's
    failure, after the rows before it; trouble of the storage propagates.
    """

    def schema(self, file: BinaryIO) -> pa.Schema:
        """All columns of a file; formats without types are looked at for some thousand rows."""

    def parts(self, path: str, size_bytes: int) -> list[Part]:
        """How an uncompressed file of `size_bytes` is shared out."""

    def read(self, file: BinaryIO, part: Part, columns: Columns, name: str) -> Iterator[SourceChunk]:
        """The rows of one part."""


def file_failure(name: str, error: Exception, after: str = "") -> Failure:
    """Return the failure of a whole file (or of what is left of it)."""
    message = f"{name} can't be read{after}: {str(error)[:300]}"
    return Failure(name, "read", FailureCode.FILE_UNREADABLE, message)
