"""The arguments and results of the steps that write rows, whatever the output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.readers import Columns


@dataclass(frozen=True)
class WritePlan:
    """How the rows of a run are written.

    Args:
        schema: of the rows.
        run: name of the run, in letters, digits and underscores.
        is_stream: whether the rows of each bundle are to be seen when it ends; else all of them once the run is judged.
        folders: the folders of all outputs of the job.
    """

    schema: pa.Schema
    run: str
    is_stream: bool = False
    folders: tuple[str, ...] = ()


class Written(NamedTuple):
    """Collections of batches of failures that writing gives, and one that is complete when the rows are there."""

    failures: tuple[Any, ...]
    done: Any


class Merging(NamedTuple):
    """The columns of the source, the one among them that holds ids, and the one that says which row is newer."""

    columns: Columns
    id_column: str
    watermark: str | None
