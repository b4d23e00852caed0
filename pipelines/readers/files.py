"""Files of a source: found by their patterns, looked at for their columns, and read part by part."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from classer_core.errors import JobError, Problem, StorageError
from classer_core.fetching.rules import redacted
from classer_core.storage_errors import as_problem
from pipelines.chunks import SourceChunk, empty_rows, without_columns
from pipelines.damage import DamagedFileError, decoding
from pipelines.readers import Columns, Part, Reader, file_failure
from pipelines.readers.typing import unified
from pipelines.storage import display_name, find_files, is_compressed, open_file

# Files looked at for their columns; what differs in later ones is handled row by row, or fails the file.
SCHEMA_FILES = 20


def matching_files(patterns: Sequence[str]) -> dict[str, int]:
    """Return path -> size in bytes of every file that the patterns of a source match.

    Raises:
        JobError: a storage can't be listed, or nothing matches.
    """
    files: dict[str, int] = {}
    for pattern in patterns:
        with as_problem("source.path", pattern):
            files |= find_files([pattern])
    if not files:
        paths = ", ".join(patterns)
        raise JobError([Problem("source.path", paths, "matches no file", "Correct the path or the pattern.")])
    return files


def schema_of(paths: Iterable[str], reader: Reader, format: str) -> pa.Schema:
    """Return the columns of the first files, with types that fit all of them.

    Raises:
        JobError: no readable file, or files whose columns differ too much.
    """
    schemas, problems = [], []
    for path in sorted(paths)[:SCHEMA_FILES]:
        try:
            with as_problem("source.path", path), open_file(path) as file, decoding(file):
                schemas.append(reader.schema(file))
        except JobError as error:
            problems += error.problems
        except DamagedFileError as error:
            message = f"can't be read as {format}"
            problems.append(Problem("source.path", f"{path}: {error}", message, "Correct source.format."))
    if problems and not schemas:
        raise JobError(problems[:1])
    try:
        return unified(schemas)
    except pa.ArrowException as error:
        message = f"files differ in their columns' types: {error}"
        remedy = "Split the source into jobs with one set of types each."
        raise JobError([Problem("source.path", "", message, remedy)]) from error


def list_files(patterns: Sequence[str]) -> Iterable[tuple[str, int]]:
    """Return (path, size in bytes) of every file, each once. One pattern of several may match nothing.

    Raises:
        StorageError: there is none, though the job has found some when it was checked.
    """
    files = find_files(patterns)
    if not files:
        shown = ", ".join(map(redacted, patterns))
        raise StorageError(f"{shown} matched files when the job began, and matches none now: nothing is published")
    return files.items()


def parts_of(reader: Reader, path: str, size_bytes: int) -> list[tuple[str, Part]]:
    """Return (path, part) for each part of a file. A damaged file is one part: reading it gives the failure."""
    parts = [Part()]
    if not is_compressed(path):
        with contextlib.suppress(DamagedFileError):
            parts = reader.parts(path, size_bytes)
    return [(path, part) for part in parts]


def read_part(reader: Reader, element: tuple[str, Part], columns: Columns, folder: str) -> Iterator[SourceChunk]:
    """Yield the rows of one part of a file as they are; damage is a failure after the rows before it."""
    path, part = element
    name = display_name(path, folder)
    try:
        with open_file(path) as file:
            yield from reader.read(file, part, columns, name)
    except DamagedFileError as error:
        yield SourceChunk([], {}, empty_rows(columns.passed), [file_failure(name, error)])


def list_documents(paths: Sequence[str], folder: str) -> SourceChunk:
    """Return a chunk with one record for each file; its id is its path. Its content is fetched by a later step."""
    names = [display_name(path, folder) for path in paths]
    return SourceChunk(names, {"file": list(paths)}, without_columns(len(paths)))
