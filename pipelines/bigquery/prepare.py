"""The launch step of tables: what is wrong with them is said, and what is missing made, before a record is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from classer_core.errors import JobError, Problem
from classer_core.records import RESULT_SCHEMA
from pipelines.bigquery.clients import require, rest_client
from pipelines.bigquery.problems import job_problems, wrong
from pipelines.bigquery.schema import CLASSIFIED_AT, differences, schema_problems, table_fields, type_of
from pipelines.bigquery.write import Target
from pipelines.written import Merging

# What a run that was killed leaves behind; longer than a run takes.
STAGING_LIFE = timedelta(days=7)
KEY_TYPES = ("STRING", "INT64", "BOOL", "BYTES", "NUMERIC", "BIGNUMERIC", "DATE", "TIME", "DATETIME", "TIMESTAMP")
RESULTS_DESCRIPTION = "Rows classified by Classer Pipelines, partitioned by the day of their classification."
FAILURES_DESCRIPTION = "Records without an answer, written by Classer Pipelines."


def prepare_table(section: str, target: Target, merging: Merging | None = None) -> None:
    """Make a table of results or failures, or add the columns that it lacks; and its staging table.

    Args:
        section: of the job: `output` or `failures`.
        target: where rows will go.
        merging: of results, what they are merged by.

    Raises:
        JobError: no credentials, project or dataset; a column of another type, or one that no table can have.
    """
    require(f"{section}.table")
    if target.is_results:
        problems = schema_problems("passthrough", target.row_schema)
        if not problems and merging is not None:
            problems = _key_problems(target, merging)
        if problems:
            raise JobError(problems)
        _prepare(section, target, "classified_at", "label", RESULTS_DESCRIPTION)
    else:
        _prepare(section, target, "attempted_at", "code", FAILURES_DESCRIPTION)


def _key_problems(target: Target, merging: Merging) -> list[Problem]:
    """Return what is wrong with the key. Rows merge by what the source says of them: answers of two runs differ."""
    key = target.output.key
    if target.output.write != "merge":
        return []
    problems = []
    if "id" in key and "id" not in merging.columns.fields:
        message = "is not a column of the source, and rows merge by it"
        remedy = "Name the column of the key in source.columns.id."
        problems.append(Problem("source.columns.id", merging.id_column, message, remedy))
    if merging.watermark is not None and merging.watermark not in merging.columns.passed.names:
        message, remedy = "is not passed through, and says which row is newer", "Name it in `passthrough:`."
        problems.append(Problem("source.watermark", merging.watermark, message, remedy))
    answers = {*RESULT_SCHEMA.names, CLASSIFIED_AT.name} - {"id"}
    fields = {field.name: field for field in table_fields(target.row_schema) if field.name not in answers}
    for name in key:
        if name not in fields:
            message, remedy = "is not a column that the source gives the results", f"Those are: {', '.join(fields)}."
            problems.append(Problem("output.key", name, message, remedy))
        elif type_of(fields[name]) not in KEY_TYPES or fields[name].mode == "REPEATED":
            message = f"is {type_of(fields[name])}, which rows can't be found by"
            problems.append(Problem("output.key", name, message, "Name other columns."))
    return problems


def _prepare(section: str, target: Target, day: str, label: str, description: str) -> None:
    from google.api_core import exceptions
    from google.cloud import bigquery

    schema, name = target.row_schema, str(target.table)
    client = rest_client(target.table.project)
    with job_problems(f"{section}.table", name):
        try:
            table = client.get_table(name)
        except exceptions.NotFound:
            client.get_dataset(f"{target.table.project}.{target.table.dataset}")  # says that it is the dataset
            table = bigquery.Table(name, schema=table_fields(schema))
            table.description = description
            table.time_partitioning = bigquery.TimePartitioning(field=day)
            table.clustering_fields = [label]
            table = client.create_table(table, exists_ok=True)
        _evolve(section, client, table, schema)
        if target.staged != target.table:
            _make_staging(client, target, client.get_table(name))


def _evolve(section: str, client: Any, table: Any, schema: pa.Schema) -> None:
    from google.cloud.bigquery import SchemaField

    if table.table_type != "TABLE":
        raise wrong(f"{section}.table", str(table.reference), f"is a {table.table_type}", "Name a table.")
    new, problems = differences(f"{section}.table", schema, list(table.schema))
    if problems:
        raise JobError(problems)
    if new:
        # Rows that are there have no value in them.
        modes = [{**field.to_api_repr(), "mode": field.mode.replace("REQUIRED", "NULLABLE")} for field in new]
        table.schema = [*table.schema, *map(SchemaField.from_api_repr, modes)]
        client.update_table(table, ["schema"])


def _make_staging(client: Any, target: Target, table: Any) -> None:
    """The columns that this job writes, as they are in the table."""
    from google.cloud import bigquery

    wanted = {name.lower() for name in target.row_schema.names}
    staged = bigquery.Table(str(target.staged), [field for field in table.schema if field.name.lower() in wanted])
    staged.expires = datetime.now(UTC) + STAGING_LIFE
    client.create_table(staged, exists_ok=True)
