"""ORC files: columns pass through untouched, only those of request fields become Python values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.dataset as ds

from pipelines.chunks import SourceChunk, empty_rows
from pipelines.damage import DamagedFileError, decoding
from pipelines.readers import Columns, Part, file_failure
from pipelines.readers.arrow import check_width, chunk_of, together

# Rows of a stripe that are decoded at once.
DECODED_ROWS = 1_024


class OrcReader:
    """Reads ORC, a file at a time.

    Stripes are decoded a thousand rows at a time: pyarrow's reader of single stripes would decode each as a whole, and
    a stripe of a few kilobytes may hold a billion rows.
    """

    def schema(self, file: BinaryIO) -> pa.Schema:
        """Return the file's own schema."""
        with decoding(file):
            schema: pa.Schema = _fragment(file).physical_schema.remove_metadata()
            check_width(len(schema))
            return schema

    def parts(self, path: str, size_bytes: int) -> list[Part]:
        """Return the whole file."""
        return [Part()]

    def read(self, file: BinaryIO, part: Part, columns: Columns, name: str) -> Iterator[SourceChunk]:
        """Yield the file's rows; positions are row numbers, from 1."""
        row = 0
        try:
            with decoding(file):
                fragment = _fragment(file)
                present = set(fragment.physical_schema.names)
                check_width(len(present))
                wanted = [column for column in columns.needed if column in present]
                batches = fragment.to_batches(columns=wanted, batch_size=DECODED_ROWS, use_threads=False)
                for batch in together(batches):
                    positions = [f"{name}#{row + offset + 1}" for offset in range(len(batch))]
                    yield chunk_of(batch, columns, positions)
                    row += len(batch)
        except DamagedFileError as error:
            failure = file_failure(name, error, f" after row {row}" if row else "")
            yield SourceChunk([], {}, empty_rows(columns.passed), [failure])


def _fragment(file: BinaryIO) -> Any:
    content: Any = pa.PythonFile(file, mode="r")  # type: ignore[arg-type]  # the stubs demand an IOBase
    return ds.OrcFileFormat().make_fragment(content)
