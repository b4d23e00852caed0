"""Merge: rows of a staging table into the table that they are for, in one statement: whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipelines.bigquery.clients import rest_client
from pipelines.bigquery.jobs import is_done, run_once
from pipelines.bigquery.names import TableName, quoted

log = logging.getLogger(__name__)


class Merge(NamedTuple):
    """From `staged`, which is dropped then, to `table`; `columns` are those that this job writes."""

    table: TableName
    staged: TableName
    columns: Sequence[str]

    @property
    def name(self) -> str:
        """Of the merge's job: one for each staging table."""
        return f"{self.staged.table.lstrip('_')}_merge"

    def is_done(self) -> bool:
        """Whether it has run."""
        client = rest_client(self.table.project)
        return is_done(client, self.name, client.get_table(str(self.table)).location)

    def run(self, key: Sequence[str], newest_by: str | None = None) -> None:
        """Merges by a key; without one, what was in the table goes. Safe to be called again."""
        client = rest_client(self.table.project)
        location = client.get_table(str(self.table)).location
        sql = replace_sql(self.table, self.staged, self.columns)
        if key:
            sql = merge_sql(self.table, self.staged, self.columns, key, newest_by)

        def start(job_id: str) -> Any:
            return client.query(sql, job_id=job_id, location=location, job_retry=None)

        run_once(client, self.name, location, start)
        if key and (repeated := self._repeated(client, key, location)):
            log.warning("%s: %d rows of this run have the key of another; one of each is kept", self.table, repeated)
        self.drop()

    def drop(self) -> None:
        """The staging table goes."""
        rest_client(self.table.project).delete_table(str(self.staged), not_found_ok=True)

    def _repeated(self, client: Any, key: Sequence[str], location: str | None) -> int:
        [row] = client.query(repeated_sql(self.staged, key), location=location).result()
        return int(row.repeated or 0)


def merge_sql(
    table: TableName, staged: TableName, columns: Sequence[str], key: Sequence[str], newest_by: str | None = None
) -> str:
    """The statement that leaves one row for each key: the staged one, the newest if there are several.

    With `newest_by`, a row that is newer stays: a run that was killed may have read the source before the last one did.
    """
    keys = [quoted(column) for column in key]
    names = [quoted(column) for column in columns]
    order = ([f"{quoted(newest_by)} DESC"] if newest_by else []) + ["`fingerprint`"]
    newer = ""
    if newest_by:
        old, new = f"kept.{quoted(newest_by)}", f"staged.{quoted(newest_by)}"
        newer = f"AND ({old} IS NULL OR {new} IS NULL OR {new} >= {old}) "
    changed = ", ".join(f"{name} = staged.{name}" for name in names if name not in keys)
    return (
        f"MERGE {table.sql} AS kept USING ("
        f"SELECT * FROM {staged.sql} WHERE TRUE "
        f"QUALIFY ROW_NUMBER() OVER (PARTITION BY {', '.join(keys)} ORDER BY {', '.join(order)}) = 1"
        f") AS staged ON {' AND '.join(f'kept.{name} = staged.{name}' for name in keys)} "
        f"WHEN MATCHED {newer}THEN UPDATE SET {changed} "
        f"WHEN NOT MATCHED THEN {_insert(names)}"
    )


def replace_sql(table: TableName, staged: TableName, columns: Sequence[str]) -> str:
    """The statement that puts the staged rows in the place of all others."""
    return (
        f"MERGE {table.sql} AS kept USING {staged.sql} AS staged ON FALSE "
        f"WHEN NOT MATCHED BY SOURCE THEN DELETE "
        f"WHEN NOT MATCHED THEN {_insert([quoted(column) for column in columns])}"
    )


def repeated_sql(staged: TableName, key: Sequence[str]) -> str:
    """The query for the number of staged rows that share their key with another, beyond the first of each."""
    keys = ", ".join(quoted(column) for column in key)
    counts = f"SELECT COUNT(*) AS n FROM {staged.sql} GROUP BY {keys}"
    return f"SELECT SUM(n - 1) AS repeated FROM ({counts})"


def _insert(names: Sequence[str]) -> str:
    return f"INSERT ({', '.join(names)}) VALUES ({', '.join(f'staged.{name}' for name in names)})"
