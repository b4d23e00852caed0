"""Gold rows: records whose right labels are known. Read and checked before anything is classified."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Literal

import apache_beam as beam
import orjson
import pyarrow as pa

from classer_core.classifiers import is_clean, shown
from classer_core.errors import JobError, Problem
from classer_core.storage_errors import as_problem
from pipelines.chunks import Chunk, SourceChunk
from pipelines.damage import DamagedFileError, decoding
from pipelines.job.model import Job
from pipelines.readers import Columns, Part
from pipelines.selection import CONTENT_FIELDS
from pipelines.sources.files import FileSource
from pipelines.storage import display_name, find_files, is_compressed, open_file

FORMATS: dict[str, Literal["ndjson", "csv", "parquet"]] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
PROBLEMS_SHOWN = 10
LABELS_SHOWN = 20


@dataclass
class Gold:
    """Right labels by record id, and where their records are.

    `source` is None where the gold file has labels only, and the records are the job's own. `rows` counts all of the
    file, `without` those without a label, `unreadable` those that are no rows. `weights` are those of a weight column.
    """

    source: FileSource | None
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rows: int = 0
    without: int = 0
    unreadable: int = 0
    weights: dict[str, float] = field(default_factory=dict)


class KeepRecords(beam.DoFn):
    """Keep only the records and failures of some ids."""

    def __init__(self, ids: frozenset[str]) -> None:
        self._ids = ids

    def process(self, chunk: Chunk) -> Iterable[Chunk]:
        """Nothing, where none of them is among the ids."""
        kept = [row for row, record in enumerate(chunk.records) if record.id in self._ids]
        failures = [failure for failure in chunk.failures if failure.id in self._ids]
        if kept or failures:
            records, rows = [chunk.records[row] for row in kept], chunk.rows.take(pa.array(kept, pa.int32()))
            yield replace(chunk, records=records, rows=rows, failures=failures)


class WrongLabelError(ValueError):
    """A value that is not a label, why, and what to do."""

    def __init__(self, value: Any, message: str, remedy: str) -> None:
        super().__init__(message)
        self.value = shown(value)
        self.message = message
        self.remedy = remedy


class GoldLabels:
    """The values that a job takes for right labels.

    One label is detection: beside it, `true` and `false`, and the fallback label for "no".
    """

    def __init__(self, job: Job) -> None:
        self._labels = job.labels
        self._fallback = job.fallback_label
        self._detection = job.labels is not None and len(job.labels) == 1
        self._several = job.mode == "multi"

    def parse(self, value: Any) -> tuple[str, ...]:
        """Return the labels of a value of the gold column.

        Raises:
            WrongLabelError: not of a kind that the job's mode has, or a label that the job lacks.
        """
        value = _from_json(value) if isinstance(value, str) and value.lstrip().startswith("[") else value
        if self._detection and str(value).lower() in ("true", "false", str(self._fallback).lower()):
            return (self._known(self._labels[0]),) if str(value).lower() == "true" and self._labels else ()
        if isinstance(value, list) and (self._several or self._detection):
            return tuple(dict.fromkeys(self._known(item) for item in value))
        return (self._known(value),)

    def _known(self, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int) or not is_clean(str(value)):
            mode, remedy = ("multi", "a list of labels, or one") if self._several else ("single", "one label a row")
            raise WrongLabelError(value, f"is not a label in mode {mode}", f"Give {remedy}.")
        label = str(value)
        if self._labels is None or label in self._labels or (label == self._fallback and not self._several):
            return label
        close = difflib.get_close_matches(label, self._labels, n=1)
        first = ", ".join(self._labels[:LABELS_SHOWN]) + (", ..." if len(self._labels) > LABELS_SHOWN else "")
        remedy = f"Did you mean {close[0]!r}?" if close else f"The labels are: {first}."
        raise WrongLabelError(label, "is none of the job's labels", remedy)


def read_gold(job: Job, path: str, column: str, folder: str, weight: str | None = None) -> Gold:
    """Return the labels of a gold file by record id.

    With a column of content (the job's own, or one named like the field) its rows are the records; without, they are
    those rows of the job's source that have the same ids.

    Raises:
        JobError: not readable, without a column that is needed, without labels, or with labels that the job lacks.
    """
    source = _gold_source(job, path)
    reader = source.reader()
    try:
        with as_problem("--gold", path), open_file(source.path[0]) as file, decoding(file):
            names = reader.schema(file).names
    except DamagedFileError as error:
        message = f"can't be read as {source.format}: {error}"
        raise JobError([Problem("--gold", shown(path, 200), message, "Correct the file.")]) from error
    columns = _request_columns(job, names, column)
    _check_columns(job, path, names, column, columns)
    if weight is not None and weight not in names:
        remedy = f"{path} has: {', '.join(names)}."
        raise JobError([Problem("--weight-column", shown(weight), "is not a column of the gold file", remedy)])
    own = bool(columns.keys() & CONTENT_FIELDS)
    gold = Gold(source.model_copy(update={"columns": columns}) if own else None)
    name = display_name(source.path[0], folder)
    own_columns = {"gold": column, "id": columns.get("id"), "weight": weight}
    wanted = Columns({name: given for name, given in own_columns.items() if given is not None}, pa.schema([]))
    labels = GoldLabels(job)
    problems: list[Problem] = []
    with open_file(source.path[0]) as file:
        for chunk in reader.read(file, Part(), wanted, name):
            _take(chunk, labels, column, gold, problems)
    if problems:
        raise JobError(_first_of_each(problems))
    if not gold.labels:
        message = f"no row has a label: {gold.rows:,} rows, {gold.without:,} of them with an empty {column!r}"
        raise JobError([Problem("--gold", shown(path, 200), message, "Give rows with their right labels.")])
    return gold


def _take(chunk: SourceChunk, labels: GoldLabels, column: str, gold: Gold, problems: list[Problem]) -> None:
    values: Sequence[Any] = chunk.fields.get("gold", [None] * len(chunk.positions))
    ids: Sequence[Any] = chunk.fields.get("id", [None] * len(chunk.positions))
    gold.rows += len(chunk.positions) + len(chunk.failures)
    gold.unreadable += len(chunk.failures)
    weights: Sequence[Any] = chunk.fields.get("weight", [None] * len(chunk.positions))
    for row, (position, given_id, value) in enumerate(zip(chunk.positions, ids, values, strict=True)):
        if value is None or value == "":
            gold.without += 1
            continue
        place, id = f"{position}: {column}", position if given_id is None else str(given_id)
        try:
            found = labels.parse(value)
        except WrongLabelError as error:
            problems.append(Problem(place, error.value, error.message, error.remedy))
            continue
        if (weight := weights[row]) is not None:
            try:
                gold.weights[id] = _weight(weight)
            except WrongLabelError as error:
                problems.append(Problem(f"{position}: weight", error.value, error.message, error.remedy))
        if gold.labels.setdefault(id, found) != found:
            remedy = "Make ids unique, or take them out: rows without are told apart by their place."
            problems.append(Problem(place, shown(value), f"id {shown(id)} is there twice, with other labels", remedy))


def _first_of_each(problems: Sequence[Problem]) -> list[Problem]:
    """One problem for each wrong value, with the number of its like."""
    counts = Counter((problem.value, problem.message) for problem in problems)
    first = {(problem.value, problem.message): problem for problem in reversed(problems)}
    kinds = [
        problem if counts[kind] == 1 else replace(problem, message=f"{problem.message} ({counts[kind]:,} rows)")
        for kind, problem in reversed(first.items())
    ]
    if len(kinds) > PROBLEMS_SHOWN:
        left = Problem("--gold", "", f"{len(kinds) - PROBLEMS_SHOWN:,} more wrong values", "Correct those above first.")
        return [*kinds[:PROBLEMS_SHOWN], left]
    return kinds


def _gold_source(job: Job, path: str) -> FileSource:
    with as_problem("--gold", path):
        found = list(find_files([path]))
    if len(found) != 1:
        raise JobError(
            [Problem("--gold", shown(path, 200), "is not a file", "Give the path of a file with gold rows.")]
        )
    suffixes = PurePosixPath(found[0]).suffixes
    ending = (suffixes[-2:-1] if is_compressed(found[0]) else suffixes[-1:]) or [""]
    format = FORMATS.get(ending[0].lower())
    if format is None:
        remedy = f"Name it with one of {', '.join(FORMATS)}, compressed or not."
        raise JobError([Problem("--gold", shown(path, 200), "has no ending that tells its format", remedy)])
    own = job.source.delimiter if isinstance(job.source, FileSource) else ","
    delimiter = "\t" if ending[0].lower() == ".tsv" else own
    return FileSource(format=format, path=(found[0],), delimiter=delimiter)


def _request_columns(job: Job, names: Sequence[str], gold_column: str) -> dict[str, str]:
    """Request field -> column of the gold file: the job's own, else the one named like a field that records may set.

    The gold column is never one of them: a job that takes `labels` from its records must not see the answer.
    """
    columns = {}
    for name, mapped in job.field_columns.items():
        column = mapped if mapped in names else name if name in names else None
        if column is not None and column != gold_column:
            columns[name] = column
    return columns


def _check_columns(job: Job, path: str, names: Sequence[str], column: str, columns: dict[str, str]) -> None:
    has = f"{path} has: {', '.join(names)}."
    if column not in names:
        remedy = f"Name the column of the right labels with --gold-column. {has}"
        raise JobError([Problem("--gold-column", shown(column), "is not a column of the gold file", remedy)])
    if not columns.keys() & {*CONTENT_FIELDS, "id"}:
        text, id = job.column_of("text"), job.column_of("id")
        message = f"has neither a column {text!r}, to classify its rows, nor {id!r}, to find them among the job's"
        raise JobError([Problem("--gold", shown(path, 200), message, has)])


def _weight(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if isinstance(value, bool) or not 0 < number < math.inf:
        raise WrongLabelError(value, "is not a weight", "Give a number above 0: one over the probability of the row.")
    return number


def _from_json(value: str) -> Any:
    try:
        return orjson.loads(value)
    except ValueError:
        return value
