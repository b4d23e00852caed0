"""CSV files with a header. CSV has no types: every column passes through as a string."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from classer_core.errors import FailureCode, RecordError
from classer_core.records import Failure
from pipelines.chunks import CHUNK_BYTES, CHUNK_ROWS, KEPT_CHARS, SourceChunk, record_json
from pipelines.damage import DamagedFileError, decoding
from pipelines.readers import Columns, Part, file_failure
from pipelines.readers.arrow import check_width

# Room for a document of 50 MiB as base64. Python's parser takes four bytes for each of them.
MAX_ROW_CHARS = 72 << 20
# A cell longer than this has lost its closing quote.
MAX_ROW_LINES = 10_000
# After a cell that went on beyond both, its lines are read again one by one, and cells may only be half as long: else
# a file of such lines would be read as often as it has lines. Not below:
LEAST_ROW_CHARS, LEAST_ROW_LINES = 1 << 20, 100
KEPT_CELLS = 1_000
CELL_BYTES = 64
TOO_LONG = f"is longer than {MAX_ROW_CHARS:,} characters"
READ_CHARS = 1 << 20
Row = tuple[int, list[str], str | None]  # line number, cells, what is wrong with the row


class CsvReader:
    """Reads CSV, a file at a time: a quoted cell may hold line ends, so no byte of it is a safe place to split."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter

    def schema(self, file: BinaryIO) -> pa.Schema:
        """The header's columns, all strings."""
        header = next(self._rows(file), None)
        return pa.schema([(name, pa.string()) for name in _header(header)]) if header else pa.schema([])

    def parts(self, path: str, size_bytes: int) -> list[Part]:
        """The whole file."""
        return [Part()]

    def read(self, file: BinaryIO, part: Part, columns: Columns, name: str) -> Iterator[SourceChunk]:
        """The file's rows; positions are line numbers."""
        cells: list[list[str]] = []
        positions: list[str] = []
        failures: list[Failure] = []
        header: list[str] = []
        size = number = 0
        try:
            with decoding(file):
                for number, row, wrong in self._rows(file):
                    if not header:
                        header = _header((number, row, wrong))
                        continue
                    position = f"{name}#{number}"
                    if wrong is None and len(row) != len(header):
                        wrong = f"has {len(row)} columns where the header has {len(header)}"
                    code = FailureCode.ROW_TOO_LONG if wrong == TOO_LONG else FailureCode.ROW_MALFORMED
                    if wrong is None and any(not cell.isascii() and not _is_utf8(cell) for cell in row):
                        code, wrong = FailureCode.ROW_NOT_UTF8, "is not UTF-8"
                    if wrong is None:
                        cells.append(row)
                        positions.append(position)
                    else:
                        failed = RecordError(code, f"line {number} of {name} {wrong}")
                        failures.append(Failure.of(failed, position, "read", record_json({"cells": row[:KEPT_CELLS]})))
                    size += sum(map(len, row)) + CELL_BYTES * len(row)
                    if len(cells) + len(failures) >= CHUNK_ROWS or size >= CHUNK_BYTES:
                        yield _chunk(cells, header, positions, columns, failures)
                        cells, positions, failures, size = [], [], [], 0
        except DamagedFileError as error:
            failures.append(file_failure(name, error, f" after line {number}" if number else ""))
        if cells or failures:
            yield _chunk(cells, header, positions, columns, failures)

    def _rows(self, file: BinaryIO) -> Iterator[Row]:
        """Rows with the line they start on. After a row that can't be right, reading goes on at its second line.

        So a quote that is never closed costs its own line, and not all lines up to the next quote.
        """
        csv.field_size_limit(MAX_ROW_CHARS + 1)
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        pending: deque[str] = deque()
        taken: list[str] = []
        most_lines, most_chars = MAX_ROW_LINES, MAX_ROW_CHARS

        def lines() -> Iterator[str]:
            nonlocal most_lines, most_chars
            chars = 0
            while line := pending.popleft() if pending else text.readline(MAX_ROW_CHARS + 1):
                taken.append(line)
                chars += len(line)
                if len(line) > MAX_ROW_CHARS:
                    raise _TooLongError
                if len(taken) > most_lines or (chars > most_chars and len(taken) > 1):
                    allowed = f"{most_lines:,} lines or {most_chars:,} characters"
                    most_lines = max(LEAST_ROW_LINES, most_lines // 2)
                    most_chars = max(LEAST_ROW_CHARS, most_chars // 2)
                    raise csv.Error(f"a quoted cell goes on for more than {allowed}")
                yield line

        number, width = 1, 0
        try:
            while True:
                taken.clear()
                wrong = None
                try:
                    row = next(csv.reader(lines(), delimiter=self._delimiter, strict=True), None)
                except _TooLongError:
                    if len(taken) == 1:
                        _skip_line(text, taken[0])
                        taken[0] = taken[0][:KEPT_CHARS]
                        row, wrong = [taken[0]], TOO_LONG
                    else:
                        row, wrong = [taken[0].rstrip("\r\n")], "is not CSV: a quote is not closed"
                except csv.Error as error:
                    row, wrong = [taken[0].rstrip("\r\n")], f"is not CSV: {error}"
                if row is None:
                    return
                if wrong is None and width and len(row) != width and len(taken) > 1:
                    row, wrong = [taken[0].rstrip("\r\n")], f"has {len(row)} columns, {width} expected"
                if wrong is not None:
                    pending.extendleft(reversed(taken[1:]))
                    del taken[1:]
                if row and wrong == TOO_LONG:
                    yield number, row, wrong
                elif row:
                    width = width or len(row)
                    yield number, row, wrong
                number += len(taken)
        finally:
            text.detach()


class _TooLongError(Exception):
    """A line is longer than a row may be."""


def _skip_line(text: io.TextIOWrapper, line: str) -> None:
    """Read up to the end of a line of which only the start is kept."""
    while line and not line.endswith(("\n", "\r")):
        line = text.readline(READ_CHARS)


def _header(found: Row) -> list[str]:
    """Names of the columns; one that is there again gets a number, so that none hides another.

    Raises:
        ArrowInvalid: it is no header that a table has.
    """
    number, names, wrong = found
    if wrong is not None:
        raise pa.ArrowInvalid(f"line {number}, the header, {wrong}")
    check_width(len(names))
    taken = set(names)
    header: list[str] = []
    seen: set[str] = set()
    for name in names:
        unique, count = name, 1
        while unique in seen or (count > 1 and unique in taken):
            count += 1
            unique = f"{name}_{count}"
        seen.add(unique)
        header.append(unique)
    return header


def _chunk(
    cells: list[list[str]], header: list[str], positions: list[str], columns: Columns, failures: list[Failure]
) -> SourceChunk:
    by_name = {name: [row[index] for row in cells] for index, name in enumerate(header)}
    # An empty cell is "not given", but for the text, where it is an empty text.
    fields = {
        field: by_name[column] if field == "text" else [cell or None for cell in by_name[column]]
        for field, column in columns.fields.items()
        if column in by_name
    }
    passed = [pa.array(by_name.get(name, [None] * len(cells)), pa.string()) for name in columns.passed.names]
    return SourceChunk(positions, fields, pa.RecordBatch.from_arrays(passed, schema=columns.passed), failures)


def _is_utf8(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True
