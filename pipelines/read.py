"""ReadRecords: the files of a source in, chunks of checked records out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
import pyarrow as pa

from classer_core.errors import JobError, Problem, StorageError
from classer_core.fetching.rules import redacted
from classer_core.records import OWN_FIELDS
from classer_core.storage import read_start
from classer_core.storage_errors import as_problem
from pipelines.chunks import Chunk, SourceChunk, check_requests
from pipelines.damage import DamagedFileError, decoding
from pipelines.job import Job
from pipelines.job.sections import BigQuerySource
from pipelines.readers import Columns, Part, Reader, file_failure, reader_for
from pipelines.readers.typing import unified
from pipelines.spread import SpreadParts
from pipelines.storage import display_name, find_files, is_compressed, open_file
from pipelines.streaming.parsing import stream_columns

# Files looked at for their columns; what differs in later ones is handled row by row, or fails the file.
SCHEMA_FILES = 20
# Files of one record each that travel together.
DOCUMENTS_TOGETHER = 64
CONTENT_FIELDS = {"text", "image", "file"}


def source_columns(job: Job) -> Columns:
    """The columns that a job takes from its source, as its first files have them, or as all messages do.

    Raises:
        JobError: no file, no readable file, or a column that the job names is in none of them.
    """
    source = job.source
    if source.is_stream:
        return stream_columns(job)
    if isinstance(source, BigQuerySource):
        from pipelines.bigquery.read import scope_of, table_schema

        return replace(_columns(job, table_schema(source)), scope=scope_of(job))
    files: dict[str, int] = {}
    for pattern in source.path:
        with as_problem("source.path", pattern):
            files |= find_files([pattern])
    if not files:
        paths = ", ".join(source.path)
        raise JobError([Problem("source.path", paths, "matches no file", "Correct the path or the pattern.")])
    if source.format == "documents":
        with as_problem("source.path", first := min(files)):
            read_start(first, 1)
        return Columns({}, pa.schema([]))
    reader = reader_for(source)
    schemas, problems = [], []
    for path in sorted(files)[:SCHEMA_FILES]:
        try:
            with as_problem("source.path", path), open_file(path) as file, decoding(file):
                schemas.append(reader.schema(file))
        except JobError as error:
            problems += error.problems
        except DamagedFileError as error:
            message = f"can't be read as {source.format}"
            problems.append(Problem("source.path", f"{path}: {error}", message, "Correct source.format."))
    if problems and not schemas:
        raise JobError(problems[:1])
    try:
        schema = unified(schemas)
    except pa.ArrowException as error:
        remedy = "Split the source into jobs with one set of types each."
        raise JobError(
            [Problem("source.path", "", f"files differ in their columns' types: {error}", remedy)]
        ) from error
    return _columns(job, schema)


def _columns(job: Job, schema: pa.Schema) -> Columns:
    known = ", ".join(schema.names)
    problems = []
    needed = [(f"source.columns.{field}", column) for field, column in job.source.columns.items()]
    needed += [
        ("record_fields", field) for field in job.record_fields if field not in {*OWN_FIELDS, *job.source.columns}
    ]
    for place, column in needed:
        if column not in schema.names:
            problems.append(Problem(place, column, "is not a column of the source", f"The source has: {known}."))
    wanted = job.passthrough if isinstance(job.passthrough, list) else []
    for name in wanted:
        if name not in schema.names:
            problems.append(Problem("passthrough", name, "is not a column of the source", f"The source has: {known}."))
    fields = {field: column for field, column in job.field_columns.items() if column in schema.names}
    if not fields.keys() & CONTENT_FIELDS and not problems:
        column = job.column_of("text") or "text"
        remedy = f"Name a column in source.columns.text, .image or .file; the source has: {known}."
        problems.append(Problem("source.columns.text", column, "is not a column of the source", remedy))
    elif "text" in fields and not _is_text(type_ := schema.field(fields["text"]).type):
        remedy = "Name a column of strings in source.columns.text."
        problems.append(Problem("source.columns.text", fields["text"], f"holds {type_}, not text", remedy))
    if problems:
        raise JobError(problems)
    if job.passthrough is True:
        # Pictures and documents are kept where they are; only a job that names their columns copies them.
        content = {fields.get("image"), fields.get("file")}
        return Columns(fields, pa.schema([item for item in schema if item.name not in content]))
    return Columns(fields, pa.schema([schema.field(name) for name in wanted]))


def _is_text(type_: pa.DataType) -> bool:
    if isinstance(type_, pa.DictionaryType):
        type_ = type_.value_type
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)


class ReadRecords(beam.PTransform[Any, Any]):
    """Reads the files of a job's source.

    Bounded. Rows that can't be read, or break a rule of the request, are in their chunk's `failures`; so is a damaged
    file, once, while other files go on.
    """

    def __init__(self, job: Job, columns: Columns, folder: str = "") -> None:
        super().__init__()
        self._job = job
        self._columns = columns
        self._folder = folder

    def expand(self, pbegin: Any) -> Any:
        """Files, then their parts, then the rows of each part; of documents, some files at a time."""
        if isinstance(self._job.source, BigQuerySource):
            from pipelines.bigquery.read import ReadTable

            return pbegin | "Table" >> ReadTable(self._job, self._columns)
        files = pbegin | "FindFiles" >> FindFiles(self._job.source.path)
        if self._job.source.format == "documents":
            return (
                files
                | "Together" >> beam.BatchElements(DOCUMENTS_TOGETHER, DOCUMENTS_TOGETHER)
                | "Spread" >> SpreadParts()
                | "Records" >> beam.ParDo(ListDocuments(self._job, self._folder))
            )
        return (
            files
            | "Split" >> beam.ParDo(SplitFile(self._job))
            | "Spread" >> SpreadParts()
            | "Read" >> beam.ParDo(ReadPart(self._job, self._columns, self._folder))
        )


class FindFiles(beam.PTransform[Any, Any]):
    """Patterns in, (path, size in bytes) of every file out, each once."""

    def __init__(self, patterns: Sequence[str]) -> None:
        super().__init__()
        self._patterns = patterns

    def expand(self, pbegin: Any) -> Any:
        """One pattern of several may match nothing. All of them together did match when the job was checked."""
        return (
            pbegin
            | "Patterns" >> beam.Create([tuple(self._patterns)], reshuffle=False)
            | "Match" >> beam.FlatMap(list_files)
        )


def list_files(patterns: Sequence[str]) -> Iterable[tuple[str, int]]:
    """Return (path, size in bytes) of every file, each once.

    Raises:
        StorageError: there is none, though the job has found some when it was checked.
    """
    files = find_files(patterns)
    if not files:
        found = ", ".join(map(redacted, patterns))
        raise StorageError(f"{found} matched files when the job began, and matches none now: nothing is published")
    return files.items()


class ListDocuments(beam.DoFn):
    """Some (path, size) in, a chunk with one record for each file out; its id is its path."""

    def __init__(self, job: Job, folder: str) -> None:
        self._job = job
        self._folder = folder

    def setup(self) -> None:
        """Once per worker."""
        self._parser = self._job.request_parser()

    def process(self, files: list[tuple[str, int]]) -> Iterable[Chunk]:
        """The files' content is fetched by the next step."""
        paths = sorted(path for path, _ in files)
        names = [display_name(path, self._folder) for path in paths]
        rows = pa.RecordBatch.from_struct_array(pa.array([{}] * len(paths), pa.struct([])))
        yield check_requests(SourceChunk(names, {"file": paths}, rows), self._parser)


class SplitFile(beam.DoFn):
    """(path, size) in, (path, part) out, for each part that can be read on its own."""

    def __init__(self, job: Job) -> None:
        self._source = job.source

    def process(self, element: tuple[str, int]) -> Iterable[tuple[str, Part]]:
        """Damaged files go on whole: reading them gives the failure."""
        path, size = element
        parts = [Part()]
        if not is_compressed(path):
            with contextlib.suppress(DamagedFileError):
                parts = reader_for(self._source).parts(path, size)
        for part in parts:
            yield path, part


class ReadPart(beam.DoFn):
    """(path, part) in, chunks out."""

    def __init__(self, job: Job, columns: Columns, folder: str) -> None:
        self._job = job
        self._columns = columns
        self._folder = folder

    def setup(self) -> None:
        """Once per worker: classifiers of the job and of the records are shared by all parts."""
        self._reader = reader_for(self._job.source)
        self._parser = self._job.request_parser()

    def process(self, element: tuple[str, Part]) -> Iterable[Chunk]:
        """The rows of one part, checked."""
        for chunk in read_part(self._reader, element, self._columns, self._folder):
            yield check_requests(chunk, self._parser)


def read_part(reader: Reader, element: tuple[str, Part], columns: Columns, folder: str) -> Iterator[SourceChunk]:
    """The rows of one part of a file as they are; damage is a failure after the rows before it."""
    path, part = element
    name = display_name(path, folder)
    try:
        with open_file(path) as file:
            yield from reader.read(file, part, columns, name)
    except DamagedFileError as error:
        rows = pa.RecordBatch.from_pylist([], schema=columns.passed)
        yield SourceChunk([], {}, rows, [file_failure(name, error)])
