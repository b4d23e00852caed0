"""NDJSON files: one JSON object a line, types found in the first lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson
import pyarrow as pa

from classer_core.errors import FailureCode, RecordError
from classer_core.nesting import MAX_LEVELS, is_too_deep
from classer_core.records import Failure
from pipelines.chunks import CHUNK_BYTES, CHUNK_ROWS, SourceChunk, record_json
from pipelines.damage import DamagedFileError, decoding
from pipelines.readers import Columns, Part, file_failure
from pipelines.readers.nested import value_at
from pipelines.readers.typing import fit_columns, infer_schema

PART_BYTES = 64 << 20
READ_BYTES = 1 << 20
SAMPLE_ROWS = 10_000
SAMPLE_BYTES = 16 << 20
MAX_LINE_BYTES = 128 << 20
TOO_DEEP = f"is JSON nested in more than {MAX_LEVELS} levels"
# Commas of a text count too: one with more of them has more tokens than a record may have.
MAX_VALUES = 4_000_000
# orjson reads integers beyond 64 bits as floats and would lose digits; the standard library keeps them.
_LONG_NUMBER = re.compile(rb"\d{19}")
Line = tuple[int, int, bytes | None]  # byte offset, line number within the part, content (None: too long)


class NdjsonReader:
    """Reads NDJSON; big uncompressed files in parts."""

    def schema(self, file: BinaryIO) -> pa.Schema:
        """Column types of the first rows; those of malformed lines don't count."""
        rows: list[dict[str, Any]] = []
        for offset, _, line in _lines(file, Part()):
            if len(rows) >= SAMPLE_ROWS or offset > SAMPLE_BYTES:
                break
            try:
                rows.append(parse_object(line))
            except RecordError:
                continue
        return infer_schema(rows)

    def parts(self, path: str, size_bytes: int) -> list[Part]:
        """Ranges of bytes; a line belongs to the range in which it starts."""
        return [Part(start, start + PART_BYTES) for start in range(0, max(size_bytes, 1), PART_BYTES)]

    def read(self, file: BinaryIO, part: Part, columns: Columns, name: str) -> Iterator[SourceChunk]:
        """Rows of the lines that start in the part; positions are byte offsets."""
        rows: list[dict[str, Any]] = []
        positions: list[str] = []
        failures: list[Failure] = []
        size = count = 0
        try:
            with decoding(file):
                for offset, number, line in _lines(file, part):
                    count += 1
                    position = f"{name}@{offset}"
                    try:
                        rows.append(parse_object(line))
                        positions.append(position)
                    except RecordError as error:
                        # Line numbers are known only where reading began at the file's start.
                        place = f"line {number}" if part.start == 0 else f"the line at byte {offset}"
                        failed = RecordError(error.code, f"{place} of {name} {error.message}")
                        original = record_json({"line": (line or b"")[:READ_BYTES].decode(errors="backslashreplace")})
                        failures.append(Failure.of(failed, position, "read", original))
                    size += len(line or b"")
                    if len(rows) + len(failures) >= CHUNK_ROWS or size >= CHUNK_BYTES:
                        yield _chunk(rows, positions, columns, failures)
                        rows, positions, failures, size = [], [], [], 0
        except DamagedFileError as error:
            failures.append(file_failure(name, error, f" after {count} lines" if count else ""))
        if rows or failures:
            yield _chunk(rows, positions, columns, failures)


def _chunk(rows: list[dict[str, Any]], positions: list[str], columns: Columns, failures: list[Failure]) -> SourceChunk:
    paths = {field: columns.path_of(column) for field, column in columns.fields.items()}
    fields = {field: [value_at(row, path) for row in rows] for field, path in paths.items()}
    return SourceChunk(positions, fields, fit_columns(rows, columns.passed, columns.fields.values()), failures)


def parse_object(line: bytes | None) -> dict[str, Any]:
    """A line in (None: it was too long), its JSON object out.

    Raises:
        RecordError: it is none, and why.
    """
    if line is None:
        raise RecordError(FailureCode.ROW_TOO_LONG, f"is longer than {MAX_LINE_BYTES:,} bytes")
    # Each empty list of two bytes becomes an object of sixty.
    if len(line) > MAX_VALUES and sum(map(line.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise RecordError(FailureCode.ROW_TOO_LONG, f"has more than {MAX_VALUES:,} values")
    try:
        value = json.loads(line) if _LONG_NUMBER.search(line) else orjson.loads(line)
    except UnicodeDecodeError as error:
        raise RecordError(FailureCode.ROW_NOT_UTF8, f"is not UTF-8: {error.reason} at byte {error.start}") from error
    except ValueError as error:
        if not _is_utf8(line):
            raise RecordError(FailureCode.ROW_NOT_UTF8, "is not UTF-8") from error
        raise RecordError(FailureCode.ROW_MALFORMED, f"is not JSON: {error}") from error
    except RecursionError as error:
        raise RecordError(FailureCode.ROW_MALFORMED, TOO_DEEP) from error
    if line.count(b"[") + line.count(b"{") > MAX_LEVELS and is_too_deep(value):
        raise RecordError(FailureCode.ROW_MALFORMED, TOO_DEEP)
    if not isinstance(value, dict):
        raise RecordError(FailureCode.ROW_MALFORMED, f"is not a JSON object but {type(value).__name__}")
    return value


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lines(file: BinaryIO, part: Part) -> Iterator[Line]:
    """Lines that start in the part, blank ones left out."""
    offset = part.start
    if offset:
        # The byte before decides whether the first line of the part is a whole one.
        file.seek(offset - 1)
    for number, (start, line) in enumerate(_raw_lines(file, max(0, offset - 1)), start=1):
        if part.end is not None and start >= part.end:
            return
        if start < part.start or (line is not None and not line.strip()):
            continue
        if start == 0 and line is not None:
            line = line.removeprefix(b"\xef\xbb\xbf")
        yield start, number, line


def _raw_lines(file: BinaryIO, offset: int) -> Iterator[tuple[int, bytes | None]]:
    """(byte offset, line without its end); None for a line longer than `MAX_LINE_BYTES`."""
    rest: list[bytes] = []
    length = 0  # of the unfinished line, also of what was thrown away of it
    while block := file.read(READ_BYTES):
        *lines, last = block.split(b"\n")
        for line in lines:
            whole = b"".join([*rest, line]) if rest else line
            too_long = length + len(line) > MAX_LINE_BYTES
            yield offset, None if too_long else whole
            offset += length + len(line) + 1
            rest, length = [], 0
        length += len(last)
        rest = [*rest, last] if length <= MAX_LINE_BYTES else []
    if length:
        yield offset, None if length > MAX_LINE_BYTES else b"".join(rest)
