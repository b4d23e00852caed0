"""Files of rows: NDJSON, CSV, Parquet, Avro and ORC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from classer_core.filesystems import is_url
from pipelines.sources import BoundedSource, PathSource

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.chunks import SourceChunk
    from pipelines.readers import Columns, Part, Reader

# Files that are looked at before a run.
LOOKED_AT_FILES = 8
_OF_DOCUMENTS = ("watch", "stop_when_idle", "max_future")


class FileSource(PathSource, BoundedSource):
    """Files that patterns match, with rows in them."""

    format: Literal["ndjson", "csv", "parquet", "avro", "orc"]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","  # of CSV

    @model_validator(mode="before")
    @classmethod
    def _only_documents_are_watched(cls, document: Any) -> Any:
        if isinstance(document, Mapping) and (named := [key for key in _OF_DOCUMENTS if key in document]):
            raise ValueError(f"{named[0]} is for format: documents")
        return document

    @override
    @property
    def is_textual(self) -> bool:
        return self.format == "csv"

    def arrow_schema(self) -> pa.Schema:
        """Return the columns of the first files, with types that fit all of them, and those of partitions."""
        from pipelines.readers.files import matching_files, schema_of
        from pipelines.readers.partitions import with_partitions

        files = matching_files(self.path)
        return with_partitions(schema_of(files, self.reader(), self.format), files, self.path)

    def parts(self, columns: Columns) -> Iterator[tuple[str, Part]]:
        """Yield (path, part) for each part of a file that can be read on its own."""
        from pipelines.readers.files import list_files, parts_of

        reader = self.reader()
        for path, size_bytes in list_files(self.path):
            yield from parts_of(reader, path, size_bytes)

    def read(self, part: tuple[str, Part], columns: Columns, folder: str) -> Iterator[SourceChunk]:
        """Yield the rows of one part of a file."""
        from pipelines.hive import values_of
        from pipelines.readers.files import read_part
        from pipelines.readers.partitions import add_values, in_files

        if not columns.partitions:
            return read_part(self.reader(), part, columns, folder)
        chunks = read_part(self.reader(), part, in_files(columns), folder)
        return add_values(chunks, columns, values_of(part[0], self.path))

    def first_parts(self, chosen: Random) -> Iterator[tuple[str, Part]]:
        """Yield one part of each of some files."""
        from pipelines.readers.files import parts_of
        from pipelines.storage import find_files

        files, reader = list(find_files(self.path).items()), self.reader()
        for path, size_bytes in chosen.sample(files, min(LOOKED_AT_FILES, len(files))):
            yield chosen.choice(parts_of(reader, path, size_bytes))

    def count_rows(self) -> int | None:
        """Return the number of rows of Parquet files on this machine, from their footers."""
        if self.format != "parquet" or any(map(is_url, self.path)):
            return None
        from pipelines.readers.parquet import count_rows
        from pipelines.storage import find_files

        return count_rows(find_files(self.path))

    def reader(self) -> Reader:
        """Return what reads files of this format."""
        if self.format == "ndjson":
            from pipelines.readers.ndjson import NdjsonReader

            return NdjsonReader()
        if self.format == "csv":
            from pipelines.readers.csv import CsvReader

            return CsvReader(self.delimiter)
        if self.format == "avro":
            from pipelines.readers.avro import AvroReader

            return AvroReader()
        if self.format == "orc":
            from pipelines.readers.orc import OrcReader

            return OrcReader()
        from pipelines.readers.parquet import ParquetReader

        return ParquetReader()
