"""A BigQuery table, or the result of a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator
from typing_extensions import override

from pipelines.sections import Column, Name, Table
from pipelines.sources import BoundedSource

if TYPE_CHECKING:
    import apache_beam as beam
    import pyarrow as pa

    from pipelines.chunks import SourceChunk
    from pipelines.readers import Columns, Scope
    from pipelines.selection import Selection


class BigQuerySource(BoundedSource):
    """A BigQuery table, or the result of a query. Of a table with a `watermark`, only rows that are new since then."""

    format: Literal["bigquery"]
    table: Table | None = None
    query: Name | None = None
    watermark: Column | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("give either table or query")
        if self.watermark is not None and self.table is None:
            raise ValueError("watermark is for a table: a query says itself what is new")
        return self

    @override
    @property
    def place(self) -> str:
        return self.table or ""

    @override
    @property
    def watermark_column(self) -> str | None:
        return self.watermark

    def arrow_schema(self) -> pa.Schema:
        """Return the columns of the table, or of the query's result."""
        from pipelines.bigquery.read import table_schema

        return table_schema(self)

    def find_columns(self, selection: Selection) -> Columns:
        """Return what a job takes, and which rows of the table: with a watermark, those that are new."""
        from pipelines.bigquery.read import scope_of

        columns = super().find_columns(selection)
        return replace(columns, scope=scope_of(self, selection.watermark_table))

    def parts(self, columns: Columns) -> list[tuple[str, bytes]]:
        """Open a read session, after the query has run, and return (name, Arrow schema) of its streams."""
        from pipelines.bigquery.read import open_streams

        return open_streams(self, columns)

    def read(self, part: tuple[str, bytes], columns: Columns, folder: str) -> Iterator[SourceChunk]:
        """Yield the rows of one stream. A row's id is its own, or else the digest of its request."""
        from pipelines.bigquery.read import read_stream

        return read_stream(part, columns)

    def keep_watermark(
        self, table: str, scope: Scope, done: Sequence[Any], postponed: Any
    ) -> beam.PTransform[Any, Any] | None:
        """Return the step that remembers how far this run came."""
        from pipelines.bigquery.watermarks import KeepWatermark

        if self.watermark is None:
            return None
        return KeepWatermark(self, table, scope.until, done, postponed)
