"""The settings of a table that is read, and of one that is written, as the job's sections have them."""

from __future__ import annotations

from typing import Literal, Protocol


class TableSource(Protocol):
    """A table, or a query; of a table, the column that says which rows are new, if there is one."""

    @property
    def table(self) -> str | None:
        """project.dataset.table; None for a query."""
        ...

    @property
    def query(self) -> str | None:
        """SQL; None for a table."""
        ...

    @property
    def watermark(self) -> str | None:
        """The column that says which rows are new."""
        ...


class TableOutput(Protocol):
    """A table, and how rows are written to it; `temporary` is the folder of a load job's files."""

    @property
    def table(self) -> str:
        """project.dataset.table."""
        ...

    @property
    def write(self) -> Literal["append", "replace", "merge"]:
        """How rows join those that are there."""
        ...

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that rows are merged by."""
        ...

    @property
    def method(self) -> Literal["storage", "load"]:
        """The Storage Write API, or load jobs."""
        ...

    @property
    def temporary(self) -> str | None:
        """The folder of the files of load jobs."""
        ...
