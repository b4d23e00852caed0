"""A folder of Parquet or NDJSON files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from typing_extensions import override

from pipelines.outputs import Output
from pipelines.sections import Name, Seconds
from pipelines.written import WritePlan

if TYPE_CHECKING:
    import apache_beam as beam


class FileOutput(Output):
    """A folder of Parquet or NDJSON files."""

    place_key: ClassVar[str] = "path"

    format: Literal["parquet", "ndjson"] = "parquet"
    path: Name
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
        return self.model_copy(update={"path": self.path.rstrip("/") + "-failures"})

    def located(self, absolute: Callable[[str], str]) -> Self:
        """Return the same output; a path that is not a URL starts at the job file's folder."""
        return self.model_copy(update={"path": absolute(self.path)})

    def write_results(self, plan: WritePlan) -> beam.PTransform[Any, Any]:
        """Return the step that writes results as files."""
        from pipelines.outputs.outcomes import WriteOutcomes

        return WriteOutcomes(self._write(plan))

    def write_failures(self, plan: WritePlan) -> beam.PTransform[Any, Any]:
        """Return the step that writes failures as files."""
        return self._write(plan)

    def last_rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the rows of the last run's files; a file that can't be read is left out, with a warning."""
        from pipelines.writers.rows import rows_of_folder

        return rows_of_folder(self.path, columns)

    def first_rows(self, count: int, is_stream: bool) -> Sequence[Mapping[str, Any]]:
        """Return the first rows of the files; of a stream, those of its newest hour."""
        from pipelines.writers.publish import output_files
        from pipelines.writers.rows import first_rows, newest_files

        files = newest_files(self.path) if is_stream else sorted(output_files(self.path))
        return first_rows(files, count)

    def _write(self, plan: WritePlan) -> beam.PTransform[Any, Any]:
        import apache_beam as beam

        from classer_core.storage import join
        from pipelines.writers.files import WriteTemporaryFiles
        from pipelines.writers.streams import WriteStream

        if plan.is_stream:
            return WriteStream(self.path, self.format, plan.schema, plan.folders)
        return beam.ParDo(WriteTemporaryFiles(join(self.path, "_temporary", plan.run), self.format))
