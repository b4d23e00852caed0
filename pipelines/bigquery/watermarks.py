"""How far the last finished run came: the newest watermark of its source, as a label of the result table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import apache_beam as beam

from classer_core.classifiers import shown
from classer_core.errors import JobError, Problem
from pipelines.bigquery.clients import rest_client
from pipelines.bigquery.names import TableName, quoted
from pipelines.bigquery.settings import TableSource

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def label_of(source: TableSource) -> str:
    """The label's name: one for each source of a result table."""
    digest = hashlib.sha256(f"{source.table}\n{source.watermark}".encode()).hexdigest()[:12]
    return f"classer_since_{digest}"


def watermark_of(output: TableName, source: TableSource, type_: str) -> Any:
    """Return the newest watermark that the last finished run has seen; None without one.

    Raises:
        JobError: the label is not one that a run has written.
    """
    from google.api_core import exceptions

    try:
        text = rest_client(output.project).get_table(str(output)).labels.get(label_of(source))
    except exceptions.NotFound:
        return None
    if text is None:
        return None
    try:
        return from_label(text, type_)
    except (ValueError, OverflowError) as error:
        place, message = f"label {label_of(source)} of {output}", f"is not a watermark of type {type_}"
        remedy = "Delete the label: the next run reads the whole source, and merges it."
        raise JobError([Problem(place, shown(text), message, remedy)]) from error


def newest(source: TableSource, since: Any, type_: str) -> Any:
    """The newest watermark that there is; `since` if there is nothing newer."""
    from google.cloud import bigquery

    assert source.table is not None and source.watermark is not None
    name, column = TableName.parse(source.table), quoted(source.watermark)
    sql, parameters = f"SELECT MAX({column}) AS newest FROM {name.sql}", []
    if since is not None:
        sql += f" WHERE {column} >= @since"
        parameters.append(bigquery.ScalarQueryParameter("since", type_, since))
    config = bigquery.QueryJobConfig(query_parameters=parameters)
    [row] = rest_client(name.project).query(sql, job_config=config).result()
    return since if row.newest is None else row.newest


def keep(output: TableName, source: TableSource, until: Any) -> None:
    """Remembers how far a run came: after its rows are there."""
    client = rest_client(output.project)
    table = client.get_table(str(output))
    table.labels = {**table.labels, label_of(source): to_label(until)}
    client.update_table(table, ["labels"])


def to_label(value: Any) -> str:
    """A value as a label may be: lower-case letters, digits, hyphens and underscores."""
    if isinstance(value, datetime):
        return str((value.replace(tzinfo=value.tzinfo or UTC) - EPOCH) // timedelta(microseconds=1))
    return value.isoformat() if isinstance(value, date) else str(value)


def from_label(text: str, type_: str) -> Any:
    """The value of a label, of a column's type."""
    if type_ == "DATE":
        return date.fromisoformat(text)
    if type_ == "INT64":
        return int(text)
    moment = EPOCH + timedelta(microseconds=int(text))
    return moment if type_ == "TIMESTAMP" else moment.replace(tzinfo=None)


class KeepWatermark(beam.PTransform[Any, Any]):
    """Keeps the watermark of a source when all rows of a run are there, failures too, and none is left for the next.

    Args:
        source: the table whose watermark it is.
        output: the table that it is kept with.
        until: how far the run has read.
        done: collections that are complete when rows are there.
        postponed: numbers of records that the run left for the next one.
    """

    def __init__(self, source: TableSource, output: str, until: Any, done: Sequence[Any], postponed: Any) -> None:
        super().__init__()
        self._keep = KeepWatermarkFn(source, TableName.parse(output), until)
        self._done = done
        self._postponed = postponed

    def expand(self, pbegin: Any) -> Any:
        """Wait for all other steps."""
        once = pbegin | "Once" >> beam.Create([None], reshuffle=False)
        sides = [beam.pvalue.AsList(collection) for collection in (self._postponed, *self._done)]
        return once | "Keep" >> beam.ParDo(self._keep, *sides)


class KeepWatermarkFn(beam.DoFn):
    """Keeps a watermark. Safe to be tried again."""

    def __init__(self, source: TableSource, output: TableName, until: Any) -> None:
        self._source = source
        self._output = output
        self._until = until

    def process(self, _: None, postponed: list[int], *done: Any) -> None:
        """Keep the watermark only if nothing was postponed; otherwise the next run would skip those rows."""
        if self._until is not None and not sum(postponed):
            keep(self._output, self._source, self._until)
