"""Outputs: what `output:` and `failures:` of a job may be, one file a kind.

An output knows its keys, what is wrong with them, and how rows are written, read back and shown. A new kind is one file
here and one line in `pipelines/job/kinds.py`; `docs/extending.md` says how. Libraries of an output (Beam, clients of
servers) are imported by its methods: checking a job loads none of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pipelines.sections import Section
from pipelines.written import Merging, WritePlan

if TYPE_CHECKING:
    import apache_beam as beam
    import pyarrow as pa

# Rows reach a server at once; after so long their messages are acknowledged. Between two bundles Beam's local runner
# stands still for up to 0.2 s.
BUNDLE_S = 10.0


class Mistake(NamedTuple):
    """A value of a job that can't be: its key, the value, what is wrong, and what to do."""

    key: str
    value: str
    message: str
    remedy: str


class Output(Section, ABC):
    """The common part of all outputs."""

    place_key: ClassVar[str]
    # Whether `only: stale` can read the rows of the last run.
    is_readable: ClassVar[bool] = True

    format: str

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the rows are found."""

    @property
    def folder(self) -> str | None:
        """The folder that rows are written to as files, if that is what happens."""
        return None

    @property
    def scratch_folder(self) -> str | None:
        """A folder for files that a run makes and removes, if it needs one."""
        return None

    @property
    def watermark_table(self) -> str | None:
        """The table that keeps how far the last run came, if it can."""
        return None

    @property
    def merge_key(self) -> tuple[str, ...]:
        """The columns by which rows take the place of others; none if they don't."""
        return ()

    @property
    def replaces(self) -> bool:
        """Whether the rows of a run take the place of those before, instead of joining them."""
        return True

    @property
    def bundle_s(self) -> float:
        """How long the records of a stream are gathered at most, before their messages are acknowledged."""
        return BUNDLE_S

    @property
    def failures(self) -> Output | None:
        """Where failures go that the job says nothing about; None if it has to."""
        return None

    def column_names(self, results: pa.Schema) -> list[str]:
        """Return the names under which the output stores the columns of result rows, in their order."""
        return results.names

    def mistakes(self, section: str, is_stream: bool) -> Iterator[Mistake]:
        """Yield what is wrong with the output, as results (`section` is `output`) or as failures (`failures`)."""
        return iter(())

    def prepare(self, section: str, plan: WritePlan, merging: Merging | None = None) -> None:
        """Try the place, and make what is missing, before a record is read.

        Args:
            section: `output` or `failures`.
            plan: how rows will be written.
            merging: of results, what they are merged by.

        Raises:
            JobError: there is no such place, no permission, or no answer.
        """

    @abstractmethod
    def write_results(self, plan: WritePlan) -> beam.PTransform[Any, Any]:
        """Return the step that writes the results of `ClassifiedChunk`s, and gives `Written`."""

    @abstractmethod
    def write_failures(self, plan: WritePlan) -> beam.PTransform[Any, Any]:
        """Return the step that writes batches of failures, and gives a collection that is complete when it is done."""

    def commit(self, plan: WritePlan, newest_by: str | None) -> beam.DoFn | None:
        """Return what makes the rows of a run that ends visible; None if they are, or if files are published.

        Args:
            plan: how rows were written.
            newest_by: the column of result rows that says which of two is newer.
        """
        return None

    def last_parts(self) -> Sequence[Any]:
        """Return the parts of the last run's rows, each of which can be read on its own; picklable."""
        return [None]

    def last_rows(self, columns: Sequence[str], part: Any = None) -> Iterator[dict[str, Any]]:
        """Yield the rows of the last run, with at least these columns of those that they have.

        Args:
            columns: what is needed.
            part: one of `last_parts`; None for all rows.
        """
        return iter(())

    @abstractmethod
    def first_rows(self, count: int, is_stream: bool) -> Sequence[Mapping[str, Any]]:
        """Return the first `count` rows, for a look at them."""
