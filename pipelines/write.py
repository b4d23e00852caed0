"""WriteResults, WriteFailures and PublishRows: the steps that write rows, to whatever outputs a job names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.outputs import Output
from pipelines.writers.publish import PublishFiles, RowFolder
from pipelines.written import WritePlan, Written


class WriteResults(beam.PTransform[Any, Any]):
    """Writes the results of `ClassifiedChunk`s. What comes out is `Written`.

    Of a source that ends, rows of a folder or a table are not seen before `PublishRows`. Failures are those of the
    chunks and the rows that the output refuses, in one or several collections.
    """

    def __init__(self, output: Output, plan: WritePlan) -> None:
        super().__init__()
        self._output = output
        self._plan = plan

    def expand(self, chunks: Any) -> Any:
        """Leave the steps to the output."""
        written = chunks | "Rows" >> self._output.write_results(self._plan)
        return written if isinstance(written, Written) else Written((written,), written)


class WriteFailures(beam.PTransform[Any, Any]):
    """Writes collections of batches of failures. What comes out is complete when they are written.

    Of a source that ends, they are not seen before `PublishRows`.
    """

    def __init__(self, output: Output, plan: WritePlan) -> None:
        super().__init__()
        self._output = output
        self._plan = plan

    def expand(self, collections: Sequence[Any]) -> Any:
        """Write a stream's collections one by one, before their bundles end; others all at once."""
        if self._plan.is_stream:
            written = [failures | f"Rows{number}" >> self._sink() for number, failures in enumerate(collections)]
        else:
            written = [collections | "All" >> beam.Flatten() | "Rows" >> self._sink()]
        return tuple(item.done if isinstance(item, Written) else item for item in written)

    def _sink(self) -> beam.PTransform[Any, Any]:
        return self._output.write_failures(self._plan)


class WrittenRows(NamedTuple):
    """Rows that wait to be published: where, how they were written, and a collection of what was written."""

    output: Output
    plan: WritePlan
    done: Any


class PublishRows(beam.PTransform[Any, Any]):
    """Makes what a run has written its output, if the verdict on the run allows it. Bounded jobs only.

    Args:
        run: name of this run.
        is_leased: whether the run holds its folders as long as it goes on.
        results: the rows of results.
        failures: the rows of failures.
        newest_by: the column of result rows that says which of two is newer, if there is one.
    """

    def __init__(
        self, run: str, is_leased: bool, results: WrittenRows, failures: WrittenRows, newest_by: str | None = None
    ) -> None:
        super().__init__()
        self._run = run
        self._is_leased = is_leased
        self._rows = results, failures
        self._newest_by = newest_by

    def expand(self, verdict: Any) -> Any:
        """Publish all folders in one step; each table in one of its own. What comes out is complete when they are."""
        once = verdict.pipeline | "Once" >> beam.Create([None], reshuffle=False)
        judged = beam.pvalue.AsSingleton(verdict)
        done = []
        folders = [
            (RowFolder(rows.output.folder, rows.output.format, rows.plan.schema), rows.done)
            for rows in self._rows
            if rows.output.folder is not None
        ]
        if folders:
            publish = PublishFiles([folder for folder, _ in folders], self._run, self._is_leased)
            files = [beam.pvalue.AsList(paths) for _, paths in folders]
            done.append(once | "Files" >> beam.ParDo(publish, judged, *files))
        for number, (rows, newest_by) in enumerate(zip(self._rows, (self._newest_by, None), strict=True)):
            if (commit := rows.output.commit(rows.plan, newest_by)) is not None:
                done.append(once | f"Table{number}" >> beam.ParDo(commit, judged, beam.pvalue.AsList(rows.done)))
        return tuple(done)
