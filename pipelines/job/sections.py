"""The sections of a job file that say where records come from and where rows go, one class a kind, told by `format`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, Self, Union, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from classer_core.records import REQUEST_FIELDS
from pipelines.queues.event_time import MAX_FUTURE_S

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
UNKNOWN_FORMAT = "unknown_format"
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def seconds_of(value: Any) -> Any:
    """`30s`, `5m`, `1.5h` in, seconds out; numbers are seconds already."""
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip())
    if found is None:
        raise ValueError("is no duration: 30s, 5m, 2h, or a number of seconds")
    return float(found[1]) * _UNIT_S[found[2]]


def listed(value: Any) -> Any:
    """One text, or a list of them, as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Seconds = Annotated[float, BeforeValidator(seconds_of), Field(gt=0, strict=False)]
Name = Annotated[str, Field(min_length=1)]
# BigQuery's names as they may stand between backquotes: project.dataset.table, and a column.
Table = Annotated[str, Field(pattern=r"^[a-z][a-z0-9:.-]*\.[A-Za-z0-9_]+\.[\p{L}\p{N}_-]+$")]
Column = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def check_fields(names: Iterable[str]) -> None:
    """Raise a ValueError if one of the names is not a request field."""
    for name in names:
        if name not in REQUEST_FIELDS:
            raise ValueError(f"{name!r} is not a request field. {nearest(name, REQUEST_FIELDS)}")


class Section(BaseModel):
    """A mapping of a job file: unknown keys and wrong types are errors, and nothing changes after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def located(self, absolute: Callable[[str], str]) -> Self:
        """The same section with absolute paths."""
        return self


class Source(Section):
    """What all sources have. `columns` maps request field -> column of the source; see `Job.column_of`."""

    columns: dict[str, str] = {}

    @field_validator("columns")
    @classmethod
    def _known_fields(cls, value: dict[str, str]) -> dict[str, str]:
        check_fields(value)
        return value

    @property
    def is_stream(self) -> bool:
        """Whether records keep coming."""
        return False


class FileSource(Source):
    """Files that patterns match; of documents, each file is a record."""

    format: Literal["ndjson", "csv", "parquet", "documents"]
    path: Annotated[tuple[str, ...], BeforeValidator(listed), Field(min_length=1)]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","  # of CSV
    watch: Seconds | None = None  # of documents: how often new files are looked for; the job is a stream then
    stop_when_idle: Seconds | None = None  # with watch, as in `StreamSource`
    max_future: Seconds = MAX_FUTURE_S  # with watch, as in `StreamSource`

    @model_validator(mode="after")
    def _only_documents_are_watched(self) -> Self:
        if self.watch is not None and self.format != "documents":
            raise ValueError("watch is for format: documents")
        if self.stop_when_idle is not None and (self.watch is None or self.stop_when_idle <= 2 * self.watch):
            raise ValueError("stop_when_idle has to be longer than watch twice: a file is seen twice before it is read")
        return self

    @property
    def is_stream(self) -> bool:
        """Whether new files are waited for."""
        return self.watch is not None

    def located(self, absolute: Callable[[str], str]) -> Self:
        """Patterns that are not URLs start at the job file's folder."""
        return self.model_copy(update={"path": tuple(map(absolute, self.path))})


class StreamSource(Source):
    """A queue of messages, each a record: JSON with request fields, or a plain text."""

    # For a drain that is scheduled; without it a stream goes on until it is stopped.
    stop_when_idle: Seconds | None = None
    timestamp_attribute: Name | None = None  # or header of Kafka: the event time, instead of the time of publishing
    max_future: Seconds = MAX_FUTURE_S  # event times that are further ahead of the clock count as none

    @property
    def is_stream(self) -> bool:
        """Messages keep coming."""
        return True


class PubSubSource(StreamSource):
    """A Pub/Sub subscription."""

    format: Literal["pubsub"]
    subscription: Annotated[str, Field(pattern=r"^projects/[^/]+/subscriptions/[^/]+$")]
    id_attribute: Name | None = None


class KafkaSource(StreamSource):
    """A Kafka topic, read for a consumer group. `options` are librdkafka's; a value `env:NAME` is a variable's."""

    format: Literal["kafka"]
    bootstrap_servers: Name
    topic: Name
    group: Name
    options: Annotated[dict[str, str | int | float | bool], Field(repr=False)] = {}


class BigQuerySource(Source):
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


class FileOutput(Section):
    """A folder of Parquet or NDJSON files."""

    format: Literal["parquet", "ndjson"] = "parquet"
    path: Name
    file_seconds: Seconds = 60.0  # of a stream: how long a file is open at most

    @property
    def place(self) -> str:
        """Where the rows are found."""
        return self.path

    def located(self, absolute: Callable[[str], str]) -> Self:
        """A path that is no URL starts at the job file's folder."""
        return self.model_copy(update={"path": absolute(self.path)})


class PubSubOutput(Section):
    """A Pub/Sub topic: each row is a message."""

    format: Literal["pubsub"]
    topic: Annotated[str, Field(pattern=r"^projects/[^/]+/topics/[^/]+$")]

    @property
    def place(self) -> str:
        """Where the rows are found."""
        return self.topic


class KafkaOutput(Section):
    """A Kafka topic: each row is a message. `options` as in `KafkaSource`."""

    format: Literal["kafka"]
    bootstrap_servers: Name
    topic: Name
    options: Annotated[dict[str, str | int | float | bool], Field(repr=False)] = {}

    @property
    def place(self) -> str:
        """Where the rows are found."""
        return f"{self.bootstrap_servers}/{self.topic}"


class BigQueryOutput(Section):
    """A BigQuery table. Rows are appended, replace all that there are, or, with `merge`, those with the same `key`."""

    format: Literal["bigquery"]
    table: Table
    write: Literal["append", "replace", "merge"] = "append"
    key: Annotated[tuple[Column, ...], BeforeValidator(listed)] = ("id",)
    method: Literal["storage", "load"] = "storage"
    # Where a load job finds its files.
    temporary: Annotated[str, Field(pattern=r"^gs://")] | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if "key" in self.model_fields_set and (self.write != "merge" or not self.key):
            raise ValueError("key is for write: merge, and names at least one column")
        if (self.temporary is None) == (self.method == "load"):
            raise ValueError("method: load and temporary: gs://bucket/folder go together")
        return self

    @property
    def place(self) -> str:
        """Where the rows are found."""
        return self.table


def formats_of(section: type[Section]) -> tuple[str, ...]:
    """The values of `format` that mean this class."""
    return get_args(section.model_fields["format"].annotation)


def _one_of(*sections: type[Section]) -> Any:
    """The union of some sections, told apart by their `format`; a default format is that of the first."""
    kinds = {format: section.__name__ for section in sections for format in formats_of(section)}
    first = sections[0].model_fields["format"]

    def kind(value: Any) -> str | None:
        if isinstance(value, Section):
            return type(value).__name__
        format = value.get("format", first.default) if isinstance(value, dict) else first.default
        if first.is_required() and isinstance(value, dict) and "format" not in value:
            return sections[0].__name__  # its own check says that it is missing
        return kinds.get(format) if isinstance(format, str) else sections[0].__name__

    members = tuple(Annotated[section, Tag(section.__name__)] for section in sections)
    message = f"is none of {', '.join(kinds)}"
    return Annotated[Union[members], Discriminator(kind, UNKNOWN_FORMAT, message)]  # noqa: UP007 - made of a tuple


SOURCES = (FileSource, PubSubSource, KafkaSource, BigQuerySource)
OUTPUTS = (FileOutput, PubSubOutput, KafkaOutput, BigQueryOutput)
AnySource, AnyOutput = _one_of(*SOURCES), _one_of(*OUTPUTS)


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy for a name that is not known."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
