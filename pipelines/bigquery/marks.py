"""KeepMark: the last step of a run that reads what is new in a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.bigquery.names import TableName
from pipelines.bigquery.watermarks import keep
from pipelines.job.sections import BigQueryOutput, BigQuerySource


class Mark(NamedTuple):
    """How far the watermark of a source has come."""

    source: BigQuerySource
    until: Any


class KeepMark(beam.PTransform[Any, Any]):
    """Keeps the watermark of a source when all rows of a run are there, failures too, and none is left for the next.

    Args:
        output: the table that it is kept with.
        mark: whose watermark, and how far it has come.
        done: collections that are done when rows are there.
        postponed: numbers of records that the run left for the next one.
    """

    def __init__(self, output: BigQueryOutput, mark: Mark, done: Sequence[Any], postponed: Any = None) -> None:
        super().__init__()
        self._table = TableName.parse(output.table)
        self._mark = mark
        self._done = done
        self._postponed = postponed

    def expand(self, pbegin: Any) -> Any:
        """One step, which waits for all others."""
        once = pbegin | "Once" >> beam.Create([None], reshuffle=False)
        postponed = self._postponed if self._postponed is not None else pbegin | "None" >> beam.Create([0])
        sides = [beam.pvalue.AsList(collection) for collection in (postponed, *self._done)]
        return once | "Keep" >> beam.ParDo(KeepWatermark(self._table, self._mark), *sides)


class KeepWatermark(beam.DoFn):
    """See `KeepMark`. Safe to be tried again."""

    def __init__(self, table: TableName, mark: Mark) -> None:
        self._table = table
        self._mark = mark

    def process(self, _: None, postponed: list[int], *done: Any) -> None:
        """What was left would be forgotten."""
        if self._mark.until is not None and not sum(postponed):
            keep(self._table, self._mark.source, self._mark.until)
