"""Provider for Beam YAML: a pipeline file uses these transforms among Beam's own.

    providers:
      - type: python
        config: {}
        transforms:
          ReadRecords: runners.beam_yaml.ReadRecords
          ExpandDocuments: runners.beam_yaml.ExpandDocuments
          ClassifyRecords: runners.beam_yaml.ClassifyRecords

Each takes Beam's `error_handling: {output: NAME}`; without it a record that fails ends the pipeline.
"""

# Beam's schemas come from types, not their names, and `X | None` is none of the types it knows.
# ruff: noqa: UP045

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import apache_beam as beam
import orjson
import pyarrow as pa
from apache_beam.typehints.arrow_type_compatibility import beam_schema_from_arrow_schema
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.typehints.schemas import named_fields_from_schema, schema_from_element_type
from apache_beam.yaml.yaml_utils import SafeLineLoader
from typing_extensions import override

from classer_core.classifiers import Classifier
from classer_core.contents import PixelNeeds
from classer_core.documents.expander import Expander
from classer_core.errors import RecordError
from classer_core.fetching import FetchRules
from classer_core.records import OWN_FIELDS, Failure, Record, failures_to_arrow
from classer_core.requests import attachments_of
from pipelines import transforms
from pipelines.chunks import SourceChunk, free_names, record_json, shown_source
from pipelines.fetch import ATTACHMENTS_AT_ONCE, shared_fetcher
from pipelines.read import ListPartsFn
from pipelines.readers import Columns
from pipelines.selection import Selection
from pipelines.sources import BoundedSource
from pipelines.sources.documents import DocumentSource
from pipelines.sources.files import FileSource
from pipelines.transforms import FailedRecord, as_mapping, failed_record, plain

FAILED = "failed"
UNUSED = Classifier(("-",))
PLAIN_TYPES = (pa.string(), pa.int64(), pa.int32(), pa.float64(), pa.float32(), pa.bool_())
ErrorHandling = Mapping[str, Any] | None


class ReadRecords(beam.PTransform[Any, Any]):
    """Read files, one row per record: `id`, the request fields, then the other columns.

    Columns of types that Beam's schemas lack (nested ones, times, decimals) come as text, nested ones as JSON.

    Args:
        format: ndjson, csv, parquet or documents (each file is a record: `id` and `file`).
        path: a pattern or a list of them.
        columns: request field -> column, where names differ.
        delimiter: of CSV.
        error_handling: where the failures of damaged files and rows go.
    """

    def __init__(
        self,
        format: str,
        path: Any,
        columns: Mapping[str, str] | None = None,
        delimiter: str = ",",
        error_handling: ErrorHandling = None,
    ) -> None:
        super().__init__()
        kind: type[FileSource] | type[DocumentSource] = FileSource
        settings = _clean({"format": format, "path": path, "columns": columns})
        if format == "documents":
            kind = DocumentSource
        else:
            settings["delimiter"] = delimiter
        self._source = kind.model_validate(settings)
        self._error_handling = error_handling

    def expand(self, pbegin: Any) -> Any:
        """List the parts of the source, then read the rows of each."""
        own = {name: name for name in OWN_FIELDS} | self._source.columns
        columns = self._source.find_columns(Selection(own))
        rows = (
            pbegin
            | "Once" >> beam.Create([None], reshuffle=False)
            | "Parts" >> beam.ParDo(ListPartsFn(self._source, columns))
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(ReadRowsFn(self._source, columns)).with_outputs(FAILED, main="rows")
        )
        good = rows.rows | "Rows" >> beam.Map(lambda row: row).with_output_types(row_type(columns))
        return _outputs(good, rows[FAILED], self._error_handling)


class ReadRowsFn(beam.DoFn):
    """Reads parts of a source as rows; failures go to their own output."""

    def __init__(self, source: BoundedSource, columns: Columns) -> None:
        self._source = source
        self._columns = columns

    def process(self, part: Any) -> Iterable[Any]:
        """Yield the rows of one part."""
        for chunk in self._source.read(part, self._columns, ""):
            yield from row_values(chunk, self._columns)
            for failure in failures_to_arrow(chunk.failures).to_pylist():
                yield beam.pvalue.TaggedOutput(FAILED, failed_record(failure))


def row_fields(columns: Columns) -> list[tuple[str, str, Any]]:
    """(name, column, type) of what a row holds beside its id: request fields, then the columns that are none."""
    types = {item.name: _beam_type(item.type) for item in columns.passed}
    requested = [(name, column) for name, column in columns.fields.items() if name != "id"]
    # Beam takes no name that starts with an underscore, as that of rescued values does.
    others = [(name.lstrip("_"), name) for name in types if name not in columns.fields.values()]
    # A column that is named like a field which another column holds keeps its values under a name of its own.
    names = free_names([name for name, _ in others], {"id", *columns.fields})
    others = [(name, column) for name, (_, column) in zip(names, others, strict=True)]
    return [(name, column, types.get(column, Optional[str])) for name, column in requested + others]


def row_type(columns: Columns) -> RowTypeConstraint:
    """The type of a source's rows."""
    return RowTypeConstraint.from_fields([("id", str), *((name, type_) for name, _, type_ in row_fields(columns))])


def row_values(chunk: SourceChunk, columns: Columns) -> Iterable[beam.Row]:
    """The rows of a chunk. Values are those of the columns, which have their column's type, where they are there."""
    fields = row_fields(columns)
    ids = chunk.fields.get("id", chunk.positions)
    for row, (position, passed) in enumerate(zip(chunk.positions, chunk.rows.to_pylist(), strict=True)):
        values = {}
        for name, column, type_ in fields:
            value = passed[column] if column in passed else chunk.fields[name][row]
            values[name] = _text(value) if type_ == Optional[str] else value
        yield beam.Row(id=position if ids[row] is None else str(ids[row]), **values)


class ExpandDocuments(beam.PTransform[Any, Any]):
    """Expand the `file` of each row into its text in `text`, its number of `pages`, and its name.

    The name is in `document`, no longer in `file`: what comes out is a text to classify.

    Args:
        allow_paths: folders in which files may lie.
        allow_hosts: hosts that URLs may lead to whatever their address is; public ones they always may.
        allow_http: whether URLs may be without TLS.
        page_overflow: `fail` or `truncate` documents that have too many pages.
        error_handling: where the failures go.
    """

    def __init__(
        self,
        allow_paths: Sequence[str] = (),
        allow_hosts: Sequence[str] = (),
        allow_http: bool = False,
        page_overflow: str = "fail",
        error_handling: ErrorHandling = None,
    ) -> None:
        super().__init__()
        paths = tuple(str(Path(path).absolute()) if "://" not in path else path for path in allow_paths)
        self._rules = FetchRules(paths, tuple(allow_hosts), allow_http, str(Path.cwd()))
        self._truncate = page_overflow == "truncate"
        self._error_handling = error_handling

    def expand(self, rows: Any) -> Any:
        """Fetched together, expanded in the sandbox together."""
        fields = named_fields_from_schema(schema_from_element_type(rows.element_type))
        own: list[tuple[str, Any]] = [
            (name, type_) for name, type_ in fields if name not in ("file", "document", "text", "pages")
        ]
        own += [("document", Optional[str]), ("text", str), ("pages", int)]
        row = RowTypeConstraint.from_fields(own)
        expanded = (
            rows
            | "Together" >> beam.BatchElements(ATTACHMENTS_AT_ONCE, ATTACHMENTS_AT_ONCE)
            | "Expand" >> beam.ParDo(ExpandRows(self._rules, self._truncate)).with_outputs(FAILED, main="rows")
        )
        good = expanded.rows | "Rows" >> beam.Map(lambda row: row).with_output_types(row)
        return _outputs(good, expanded[FAILED], self._error_handling)


class ExpandRows(beam.DoFn):
    """Yield rows with the text of their documents; failures go to their own output."""

    def __init__(self, rules: FetchRules, truncate: bool) -> None:
        self._rules = rules
        self._truncate = truncate

    def setup(self) -> None:
        """One sandbox per worker."""
        self._expander = Expander(PixelNeeds.nothing(), self._truncate)

    def process(self, rows: Sequence[Any]) -> Iterable[Any]:
        """Each row ends as itself with a text, or as a failure."""
        given = [dict(as_mapping(row)) for row in rows]
        errors: dict[int, Failure] = {}
        records: dict[int, Record] = {}
        for number, row in enumerate(given):
            try:
                attachments = attachments_of(file=row.get("file"))
                records[number] = Record(str(row.get("id", "")), row.get("text") or "", UNUSED, attachments=attachments)
            except RecordError as error:
                errors[number] = Failure.of(error, str(row.get("id", "")), "read")
        pending = [item for record in records.values() for item in record.attachments]
        unread = {
            id(item): error for item, error in zip(pending, shared_fetcher(self._rules).fetch(pending), strict=True)
        }
        for number, record in list(records.items()):
            if problem := next((unread[id(item)] for item in record.attachments if unread[id(item)]), None):
                errors[number] = Failure.of(problem, record.id, "fetch")
                del records[number]
        for (number, record), content in zip(
            list(records.items()), self._expander.expand(list(records.values())), strict=True
        ):
            if isinstance(content, RecordError):
                errors[number] = Failure.of(content, record.id, "expand")
            else:
                row = {name: value for name, value in given[number].items() if name != "file"}
                text = "\n\n".join(page.text for page in content.pages if page.text)
                yield beam.Row(
                    **row | {"document": given[number].get("file"), "text": text, "pages": len(content.pages)}
                )
        for number, failure in errors.items():
            failure.record = record_json(given[number] | {"file": shown_source(given[number].get("file"))})
            [row] = failures_to_arrow([failure]).to_pylist()
            yield beam.pvalue.TaggedOutput(FAILED, failed_record(row))


class ClassifyRecords(beam.PTransform[Any, Any]):
    """Classify rows: `pipelines.transforms.ClassifyRecords`, with all its settings, for YAML.

    Args:
        error_handling: where the failures go.
        settings: those of `pipelines.transforms.ClassifyRecords`.
    """

    def __init__(self, error_handling: ErrorHandling = None, **settings: Any) -> None:
        super().__init__()
        self._classify = transforms.ClassifyRecords(**_clean(settings))
        self._error_handling = error_handling

    @override
    def expand(self, rows: Any) -> Any:
        answers = rows | self._classify
        return _outputs(answers.results, answers.failures, self._error_handling)


def _outputs(good: Any, failed: Any, error_handling: ErrorHandling) -> Any:
    """Outputs as Beam YAML wants them."""
    failures = failed | "FailedRecords" >> beam.Map(lambda row: row).with_output_types(FailedRecord)
    if error_handling and "output" in error_handling:
        return {"output": good, error_handling["output"]: failures}
    _ = failures | "NoErrorHandling" >> beam.Map(_fail)
    return good


def _fail(row: FailedRecord) -> None:
    raise ValueError(f"record {row.id}: {row.code}: {row.message} (`error_handling: {{output: ...}}` keeps the others)")


def _beam_type(type_: pa.DataType) -> Any:
    """The Beam type of plain columns; text for all others."""
    element = type_.value_type if pa.types.is_list(type_) else type_
    if element not in PLAIN_TYPES:
        return Optional[str]
    schema = beam_schema_from_arrow_schema(pa.schema([pa.field("column", type_)]))
    return named_fields_from_schema(schema)[0][1]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(plain(value), default=str).decode().strip('"')


def _clean(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without the line numbers that Beam YAML keeps in them."""
    return {name: SafeLineLoader.strip_metadata(value) for name, value in settings.items() if value is not None}
