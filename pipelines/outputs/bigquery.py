"""A BigQuery table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import override

from pipelines.outputs import Mistake, Output
from pipelines.sections import Column, Table, listed
from pipelines.written import Merging, WritePlan

if TYPE_CHECKING:
    import apache_beam as beam
    import pyarrow as pa


class BigQueryOutput(Output):
    """A BigQuery table. Rows are appended, replace all that there are, or, with `merge`, those with the same `key`."""

    place_key: ClassVar[str] = "table"

    format: Literal["bigquery"]
    table: Table
    write: Literal["append", "replace", "merge"] = "append"
    key: Annotated[tuple[Column, ...], BeforeValidator(listed)] = ("id",)
    method: Literal["storage", "load"] = "storage"
    # Where a load job finds its files.
    temporary: Annotated[str, Field(pattern=r"^gs://")] | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if "key" in self.model_fields_set and (self.write != "merge" or not self.key):
            raise ValueError("key is for write: merge, and names at least one column")
        if (self.temporary is None) == (self.method == "load"):
            raise ValueError("method: load and temporary: gs://bucket/folder go together")
        return self

    @property
    def place(self) -> str:
        """Where the rows are found."""
        return self.table

    @property
    def scratch_folder(self) -> str | None:
        """The folder of a load job's files."""
        return self.temporary

    @property
    def watermark_table(self) -> str:
        """The table itself."""
        return self.table

    @override
    @property
    def merge_key(self) -> tuple[str, ...]:
        return self.key if self.write == "merge" else ()

    @override
    @property
    def replaces(self) -> bool:
        return self.write != "append"

    @property
    def failures(self) -> Self:
        """A table beside this one. A merge leaves rows of other runs where they are; so do its failures."""
        write = "replace" if self.write == "replace" else "append"
        fields = self.model_dump(exclude_unset=True, exclude={"key", "table", "write"})
        return type(self).model_validate(
            {**fields, "format": self.format, "table": f"{self.table}_failures", "write": write}
        )

    def mistakes(self, section: str, is_stream: bool) -> Iterator[Mistake]:
        """Yield what can't be with a stream, or with failures."""
        if is_stream and (self.write != "append" or self.method == "load"):
            value = self.method if self.write == "append" else self.write
            remedy = "Streams append by the Storage Write API: leave it out."
            yield Mistake(section, value, "needs a source that ends", remedy)
        if section == "failures" and self.write == "merge":
            yield Mistake("failures.write", "merge", "is for results", "Failures are appended, or replaced.")

    def prepare(self, section: str, plan: WritePlan, merging: Merging | None = None) -> None:
        """Make the table, or add the columns that it lacks; and a staging table."""
        from pipelines.bigquery.prepare import prepare_table
        from pipelines.bigquery.write import Target

        prepare_table(section, Target(self, plan.schema, plan.run), merging)

    def write_results(self, plan: WritePlan) -> beam.PTransform[Any, Any]:
        """Return the step that writes results to the table, or to its staging table."""
        from pipelines.outputs.outcomes import WriteOutcomes

        return WriteOutcomes(self.write_failures(plan))

    def write_failures(self, plan: WritePlan) -> beam.PTransform[Any, Any]:
        """Return the step that writes batches of rows."""
        from pipelines.bigquery.write import WriteTable

        return WriteTable(self, plan.schema, plan.run, plan.is_stream)

    def commit(self, plan: WritePlan, newest_by: str | None) -> beam.DoFn:
        """Return what puts all rows of a run into the table at once."""
        from pipelines.bigquery.write import CommitTable, Target

        if newest_by is not None:
            newest_by = dict(zip(plan.schema.names, self.column_names(plan.schema), strict=True))[newest_by]
        return CommitTable(Target(self, plan.schema, plan.run), newest_by)

    @override
    def column_names(self, results: pa.Schema) -> list[str]:
        from pipelines.bigquery.schema import result_table_schema

        return result_table_schema(results).names[: len(results)]

    def last_rows(self, columns: Sequence[str], part: Any = None) -> Iterator[dict[str, Any]]:
        """Yield the rows of the table."""
        from pipelines.bigquery.rows import rows_of

        return rows_of(self.table, columns)

    def first_rows(self, count: int, is_stream: bool) -> Sequence[Mapping[str, Any]]:
        """Return some of the table's rows, in no order; reading them costs nothing."""
        from pipelines.bigquery.rows import first_rows

        return first_rows(self.table, count)
