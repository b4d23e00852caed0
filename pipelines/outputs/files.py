"""A folder of Parquet or NDJSON files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator
from typing_extensions import override

from classer_core.errors import JobError, Problem
from pipelines.outputs import Mistake, Output
from pipelines.sections import Name, Seconds, listed
from pipelines.written import Merging, WritePlan

if TYPE_CHECKING:
    import apache_beam as beam


class FileOutput(Output):
    """A folder of Parquet or NDJSON files."""

    place_key: ClassVar[str] = "path"

    format: Literal["parquet", "ndjson"] = "parquet"
    path: Name
    # Of a source that ends: columns whose values are folders, as in `label=billing/`.
    partition_by: Annotated[tuple[Name, ...], BeforeValidator(listed)] = ()
    file_seconds: Seconds = 60.0  # of a stream: how long a file is open at most

    @property
    def place(self) -> str:
        """Where the rows are found."""
        return self.path

    @override
    @property
    def folder(self) -> str:
        return self.path

    @override
    @property
    def bundle_s(self) -> float:
        return self.file_seconds

    @property
    def failures(self) -> Self:
        """A folder beside this one."""
        return self.model_copy(update={"path": self.path.rstrip("/") + "-failures", "partition_by": ()})

    def located(self, absolute: Callable[[str], str]) -> Self:
        """Return the same output; a path that is not a URL starts at the job file's folder."""
        return self.model_copy(update={"path": absolute(self.path)})

    def mistakes(self, section: str, is_stream: bool) -> Iterator[Mistake]:
        """Yield why rows can't be partitioned."""
        if not self.partition_by:
            return
        key, value = f"{section}.partition_by", ", ".join(self.partition_by)
        if section == "failures":
            yield Mistake(key, value, "is for results", "Leave it out.")
        elif is_stream:
            yield Mistake(key, value, "is for a source that ends", "Leave it out: files of a stream go by their hour.")
        elif len(set(self.partition_by)) < len(self.partition_by):
            yield Mistake(key, value, "names a column twice", "Name each once.")

    def prepare(self, section: str, plan: WritePlan, merging: Merging | None = None) -> None:
        """Check the columns by which rows are partitioned."""
        from pipelines.writers.partitions import unfit

        found = ((column, unfit(column, plan.schema)) for column in self.partition_by)
        if problems := [
            Problem(f"{section}.partition_by", column, message, "Name another column.")
            for column, message in found
            if message is not None
        ]:
            raise JobError(problems)

    def write_results(self, plan: WritePlan) -> beam.PTransform[Any, Any]:
        """Return the step that writes results as files."""
        from pipelines.outputs.outcomes import WriteOutcomes

        return WriteOutcomes(self._write(plan))

    def write_failures(self, plan: WritePlan) -> beam.PTransform[Any, Any]:
        """Return the step that writes failures as files."""
        return self._write(plan)

    @override
    def last_parts(self) -> Sequence[str]:
        from pipelines.writers.publish import output_files

        return output_files(self.path)

    def last_rows(self, columns: Sequence[str], part: Any = None) -> Iterator[dict[str, Any]]:
        """Yield the rows of the last run's files; a file that can't be read is left out, with a warning."""
        from pipelines.writers.rows import rows_of_folder

        return rows_of_folder(self.path, columns, self.last_parts() if part is None else [part])

    def first_rows(self, count: int, is_stream: bool) -> Sequence[Mapping[str, Any]]:
        """Return the first rows of the files; of a stream, those of its newest hour."""
        from pipelines.writers.publish import output_files
        from pipelines.writers.rows import first_rows, newest_files

        files = newest_files(self.path) if is_stream else sorted(output_files(self.path))
        return first_rows(self.path, files, count)

    def _write(self, plan: WritePlan) -> beam.PTransform[Any, Any]:
        import apache_beam as beam

        from classer_core.storage import join
        from pipelines.writers.files import WriteTemporaryFiles
        from pipelines.writers.streams import WriteStream

        if plan.is_stream:
            return WriteStream(self.path, self.format, plan.schema, plan.folders)
        temporary = join(self.path, "_temporary", plan.run)
        if self.partition_by:
            from pipelines.writers.partitions import WritePartitions

            return WritePartitions(temporary, self.format, self.partition_by)
        return beam.ParDo(WriteTemporaryFiles(temporary, self.format))
