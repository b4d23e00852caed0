"""Starts bqemulator (in its own virtual environment) with what it leaves out of BigQuery put right, for our tests.

    python tests/bigquery_repairs.py start --rest-port ... (the options of `bqemulator`)

- Rows of the Storage Write API may have nested columns (1.4.0 forgets their inner fields).
- Columns that a PATCH adds to a table's schema exist in its rows, too.
- Lengths and precisions of columns are kept.
- The Storage Read API reads the results of queries.
- A write stream that is committed says when.
"""

import re
from typing import Any

import bqemulator.api.routes.tables as tables
import bqemulator.grpc_api.write_servicer as write_servicer
from bqemulator.api.routes.tabledata import _build_arrow_schema, _fields_raw_from_schema
from bqemulator.cli import main
from bqemulator.jobs.executor import JOB_RESULTS
from bqemulator.storage.engine import DuckDBEngine
from bqemulator.storage.sql_identifiers import quoted_table_ref
from bqemulator.storage.type_map import bq_schema_to_duckdb_columns
from bqemulator.streaming.write_stream import WriteStreamState
from google.cloud.bigquery_storage_v1 import types

ANONYMOUS = re.compile(r'"([^"]+___bqemu_anonymous)"\."(anon([^"]+))"')
PARAMETERS = {"maxLength": "max_length", "precision": "precision", "scale": "scale"}
engines: list[DuckDBEngine] = []


def arrow_schema_of(table: Any) -> Any:
    """The Arrow schema of a table's rows, nested fields too."""
    return _build_arrow_schema(_fields_raw_from_schema(table.schema_.fields))


def field_to_rest(field: Any) -> dict[str, Any]:
    """A column as REST shows it."""
    parameters = {key: str(value) for key, name in PARAMETERS.items() if (value := getattr(field, name)) is not None}
    return _field_to_rest(field) | parameters


def parse_schema_fields(raw: list[dict[str, Any]]) -> tuple[Any, ...]:
    """Columns as REST sends them."""
    return tuple(
        field.model_copy(update={name: int(item[key]) for key, name in PARAMETERS.items() if key in item})
        for field, item in zip(_parse_schema_fields(raw), raw, strict=True)
    )


def rest_to_table_meta(project: str, dataset: str, body: Any, clock: Any, existing: Any = None) -> Any:
    """A table as REST sends it; new columns of an existing one are added to its rows."""
    table = _rest_to_table_meta(project, dataset, body, clock, existing)
    if existing is not None:
        known = {field.name for field in existing.schema_.fields}
        new = [field_to_rest(field) for field in table.schema_.fields if field.name not in known]
        place = quoted_table_ref(project, dataset, existing.table_id)
        for name, type_ in bq_schema_to_duckdb_columns(new):
            engines[-1].execute(f'ALTER TABLE {place} ADD COLUMN "{name}" {type_}')
    return table


def fetch_arrow(self: DuckDBEngine, sql: str, *args: Any) -> Any:
    """Rows of a query; the result of another query is a table like others."""
    if found := ANONYMOUS.search(sql):
        schema, table, job = found.groups()
        result = JOB_RESULTS.get(job, JOB_RESULTS.get(_with_hyphens(job)))
        self.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        self.connection.register("query_result", result)
        self.execute(f'CREATE OR REPLACE TABLE "{schema}"."{table}" AS SELECT * FROM query_result')
        self.connection.unregister("query_result")
    return _fetch_arrow(self, sql, *args)


def _with_hyphens(job: str) -> str:
    return "-".join((job[:8], job[8:12], job[12:16], job[16:20], job[20:]))


def get_write_stream(self: Any, request: bytes, context: Any) -> bytes:
    """A write stream, with the time of its commit."""
    answer = _get_write_stream(self, request, context)
    stream = types.WriteStream.deserialize(answer)
    held = self._manager.get(stream.name) if stream.name else None
    if held is not None and held.state is WriteStreamState.COMMITTED:
        stream.commit_time = stream.create_time
    return bytes(types.WriteStream.serialize(stream))


def init(self: DuckDBEngine, *args: Any, **kwargs: Any) -> None:
    """Remembers the one engine there is."""
    _init(self, *args, **kwargs)
    engines.append(self)


_field_to_rest, tables._field_to_rest = tables._field_to_rest, field_to_rest
_parse_schema_fields, tables._parse_schema_fields = tables._parse_schema_fields, parse_schema_fields
_rest_to_table_meta, tables._rest_to_table_meta = tables._rest_to_table_meta, rest_to_table_meta
_fetch_arrow, DuckDBEngine.fetch_arrow = DuckDBEngine.fetch_arrow, fetch_arrow
_init, DuckDBEngine.__init__ = DuckDBEngine.__init__, init
write_servicer._table_arrow_schema = arrow_schema_of
_handler = write_servicer.BigQueryWriteHandler
_get_write_stream, _handler._handle_get_write_stream = _handler._handle_get_write_stream, get_write_stream

if __name__ == "__main__":
    main()
