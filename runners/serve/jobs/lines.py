"""Lines of an upload in, the records of a pipeline out; what is not a record becomes an error line at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from classer_core.errors import FailureCode, RecordError
from classer_core.requests import checked_text
from pipelines.readers.ndjson import parse_object

# A text of 1M tokens has some 4 MB; JSON may write each character as six.
MAX_LINE_BYTES = 32 << 20
BATCH_ROWS, BATCH_BYTES = 4_096, 16 << 20
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])


def write_records(source: Path, target: Path, fail: Callable[[int, str], None]) -> tuple[int, int]:
    """Write the records of an NDJSON file as Parquet, with their positions among the lines as ids.

    Args:
        source: one object with a `text` a line; other keys are ignored, blank lines are skipped.
        target: the Parquet file.
        fail: is told the position of each line that is not a record, and why.

    Returns:
        How many lines there are, and how many of them are records.
    """
    lines = records = size = 0
    ids: list[str] = []
    texts: list[str] = []
    with source.open("rb") as file, pq.ParquetWriter(target, SCHEMA, compression="zstd") as writer:

        def flush() -> None:
            nonlocal size
            writer.write_batch(
                pa.RecordBatch.from_arrays([pa.array(ids, pa.string()), pa.array(texts, pa.string())], schema=SCHEMA)
            )
            ids.clear()
            texts.clear()
            size = 0

        for lines, line in enumerate(read_lines(file), start=1):
            try:
                text = _text_of(line)
            except RecordError as error:
                fail(lines - 1, error.message)
                continue
            ids.append(str(lines - 1))
            texts.append(text)
            records += 1
            size += len(text)
            if len(ids) >= BATCH_ROWS or size >= BATCH_BYTES:
                flush()
        if ids:
            flush()
    return lines, records


def read_lines(file: BinaryIO, max_bytes: int = MAX_LINE_BYTES) -> Iterator[bytes | None]:
    """Yield the lines of a file that are not blank, without their ends; None for one above `max_bytes`."""
    is_first = True
    while line := file.readline(max_bytes + 1):
        if len(line) > max_bytes and not line.endswith(b"\n"):
            while (rest := file.readline(max_bytes)) and not rest.endswith(b"\n"):
                pass
            yield None
        else:
            stripped = (line.removeprefix(b"\xef\xbb\xbf") if is_first else line).strip()
            if stripped:
                yield stripped
        is_first = False


def _text_of(line: bytes | None) -> str:
    if line is None:
        raise RecordError(FailureCode.ROW_TOO_LONG, f"the line is longer than {MAX_LINE_BYTES:,} bytes")
    try:
        row = parse_object(line)
    except RecordError as error:
        raise RecordError(error.code, f"the line {error.message}") from error
    return checked_text(row.get("text"))
