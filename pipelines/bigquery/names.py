"""Names of tables and columns, as the APIs and as SQL want them."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

# BigQuery's own rule, without the letters that need its newer naming; what starts so is kept for BigQuery itself.
COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")
RESERVED = ("_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier", "_change_")


class TableName(NamedTuple):
    """project.dataset.table, checked where the job is read."""

    project: str
    dataset: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """`project.dataset.table` in; a project may have dots and a colon (`example.com:project`)."""
        return cls(*text.rsplit(".", 2))

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}.{self.table}"

    @property
    def path(self) -> str:
        """As the Storage APIs name it."""
        return f"projects/{self.project}/datasets/{self.dataset}/tables/{self.table}"

    @property
    def sql(self) -> str:
        """As SQL names it."""
        return f"`{self}`"

    @property
    def digest(self) -> str:
        """A digest that tells it from other tables, in letters that every name may have."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:8]

    def staging(self, run: str) -> TableName:
        """Where a run's rows wait until they all are there: in the same dataset, with its rights and location."""
        return self._replace(table=f"_classer_{run}_{self.digest}")


def quoted(column: str) -> str:
    """A column as SQL names it.

    Raises:
        ValueError: it is not a name of a column.
    """
    if not COLUMN.fullmatch(column):
        raise ValueError(f"{column!r} is not a name of a column")
    return f"`{column}`"


def is_column(name: str) -> bool:
    """Whether BigQuery takes this name for a column."""
    return COLUMN.fullmatch(name) is not None and not name.lower().startswith(RESERVED)
