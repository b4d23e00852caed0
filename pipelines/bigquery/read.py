"""The rows of a table, or of a query's result, as chunks, through the Storage Read API in Arrow.

Only the columns that the job takes are read, as the table was when the job started. Views, and tables of which only the
newest rows are wanted, are read by a query; the result of a query is a temporary table that BigQuery keeps for a day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from pipelines.bigquery.clients import read_client, require, rest_client
from pipelines.bigquery.jobs import run_once
from pipelines.bigquery.names import TableName, quoted
from pipelines.bigquery.problems import job_problems, wrong
from pipelines.bigquery.schema import UnsupportedTypeError, arrow_schema, type_of
from pipelines.bigquery.settings import TableSource
from pipelines.bigquery.watermarks import newest, watermark_of
from pipelines.chunks import CHUNK_ROWS, SourceChunk, content_id
from pipelines.readers import Columns, Scope
from pipelines.readers.arrow import chunk_of

MAX_STREAMS = 100


def table_schema(source: TableSource) -> pa.Schema:
    """Return the columns of a source's table, or of its query's result.

    Raises:
        JobError: no credentials, project, dataset or table; a wrong query; or a column of a type that Arrow lacks.
    """
    place = "source.table" if source.table else "source.query"
    require(place)
    with job_problems(place, source.table or source.query or ""):
        fields = _fields(source)
        try:
            return arrow_schema(fields)
        except UnsupportedTypeError as error:
            raise wrong(place, "", str(error), "Take a query that leaves the column out, or casts it.") from error


def scope_of(source: TableSource, output: str | None) -> Scope:
    """Return which rows are read: what is there now; with a watermark, what the last finished run left.

    Args:
        source: the table or query.
        output: the table of the results, which keeps the watermark; None as in an evaluation, which reads all rows.

    Raises:
        JobError: the watermark is not a column of the table, or of no type that tells what is new.
    """
    now = datetime.now(UTC)
    if source.watermark is None or source.table is None or output is None:
        return Scope(now)
    place = "source.watermark"
    with job_problems(place, source.watermark):
        field = next((item for item in _fields(source) if item.name == source.watermark), None)
        if field is None:
            raise wrong(
                place, source.watermark, "is not a column of the table", "Name one that says when a row changed."
            )
        if type_of(field) not in ("TIMESTAMP", "DATETIME", "DATE", "INT64") or field.mode == "REPEATED":
            message = f"is {type_of(field)}"
            raise wrong(place, source.watermark, message, "Name a column of TIMESTAMP, DATETIME, DATE or INT64.")
        since = watermark_of(TableName.parse(output), source, type_of(field))
        return Scope(now, since, newest(source, since, type_of(field)))


def _fields(source: TableSource) -> Sequence[Any]:
    from google.cloud import bigquery

    if source.table is not None:
        name = TableName.parse(source.table)
        return list(rest_client(name.project).get_table(str(name)).schema)
    dry = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
    return list(_client(source).query(source.query, job_config=dry).schema or [])


def read_stream(element: tuple[str, bytes], columns: Columns) -> Iterator[SourceChunk]:
    """Yield the rows of one read stream. A row's id is its own, or else the digest of its request."""
    for batch in stream_batches(element):
        for start in range(0, len(batch), CHUNK_ROWS):
            yield _chunk(batch.slice(start, CHUNK_ROWS), columns)


def open_streams(source: TableSource, columns: Columns) -> list[tuple[str, bytes]]:
    """(name, Arrow schema) of the streams that together hold a job's source."""
    wanted = columns.needed
    query = _query(source, columns, wanted)
    if query is None:
        assert source.table is not None
        return streams_of(TableName.parse(source.table), wanted, columns.scope.as_of)
    sql, parameters = query
    return streams_of(_result_of(source, sql, parameters, columns.scope), wanted)


def streams_of(table: TableName, columns: Sequence[str], as_of: datetime | None = None) -> list[tuple[str, bytes]]:
    """(name, Arrow schema) of the streams of some columns of a table."""
    from google.cloud.bigquery_storage_v1 import types

    session = types.ReadSession(
        table=table.path,
        data_format=types.DataFormat.ARROW,
        read_options=types.ReadSession.TableReadOptions(selected_fields=list(columns)),
    )
    if as_of is not None:
        session.table_modifiers = types.ReadSession.TableModifiers(snapshot_time=as_of)
    parent = f"projects/{rest_client(table.project).project}"
    opened = read_client().create_read_session(parent=parent, read_session=session, max_stream_count=MAX_STREAMS)
    return [(stream.name, opened.arrow_schema.serialized_schema) for stream in opened.streams]


def stream_batches(element: tuple[str, bytes]) -> Iterator[pa.RecordBatch]:
    """The rows of one read stream; a connection that breaks is taken up where it was."""
    name, serialized = element
    schema = pa.ipc.read_schema(pa.py_buffer(serialized))
    for response in read_client().read_rows(name):
        batch = response.arrow_record_batch.serialized_record_batch
        yield pa.ipc.read_record_batch(pa.py_buffer(batch), schema)


def _chunk(batch: pa.RecordBatch, columns: Columns) -> SourceChunk:
    chunk = chunk_of(batch, columns, [""] * len(batch))
    ids = chunk.fields.get("id", [None] * len(chunk.positions))
    chunk.positions = ["" if id is not None else content_id(chunk.fields, row) for row, id in enumerate(ids)]
    return chunk


def _query(source: TableSource, columns: Columns, wanted: Sequence[str]) -> tuple[str, list[Any]] | None:
    """Return the query and its parameters; None for a table that is read as it is."""
    from google.cloud import bigquery

    if source.query is not None:
        return source.query, []
    assert source.table is not None
    name = TableName.parse(source.table)
    table = rest_client(name.project).get_table(str(name))
    scope = columns.scope
    if table.table_type == "TABLE" and scope.until is None:
        return None
    sql, parameters = f"SELECT {', '.join(map(quoted, wanted))} FROM {name.sql}", []
    if source.watermark is not None and scope.until is not None:
        column = quoted(source.watermark)
        type_ = next(type_of(field) for field in table.schema if field.name == source.watermark)
        # Rows that have no watermark are never old.
        sql += f" WHERE ({column} IS NULL OR {column} <= @until)"
        parameters.append(bigquery.ScalarQueryParameter("until", type_, scope.until))
        if scope.since is not None:
            sql += f" AND ({column} IS NULL OR {column} >= @since)"
            parameters.append(bigquery.ScalarQueryParameter("since", type_, scope.since))
    return sql, parameters


def _result_of(source: TableSource, sql: str, parameters: list[Any], scope: Scope) -> TableName:
    """The table of a query's result: of the same job, whoever asks for it again."""
    from google.cloud import bigquery

    client = _client(source)
    digest = hashlib.sha256(f"{sql}\n{scope}".encode()).hexdigest()[:24]
    config = bigquery.QueryJobConfig(query_parameters=parameters)
    dry = bigquery.QueryJobConfig(query_parameters=parameters, dry_run=True)
    location = client.query(sql, job_config=dry).location

    def start(job_id: str) -> Any:
        config.priority = bigquery.QueryPriority.BATCH
        return client.query(sql, job_id=job_id, job_config=config, job_retry=None, location=location)

    result = run_once(client, f"classer_query_{digest}", location, start).destination
    return TableName(result.project, result.dataset_id, result.table_id)


def _client(source: TableSource) -> Any:
    """Who pays for a query: the project of the table, or of the environment."""
    return rest_client(TableName.parse(source.table).project if source.table else "")
