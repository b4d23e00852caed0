"""WriteTable: writes batches of rows to a table that has each of them once.

Rows go to pending streams of the Storage Write API, one for each bundle, or to files for a load job. They become
visible when all are there, all at once: a bundle that is tried again leaves a stream, or a file, that nobody names.
The names are recorded before the streams are committed, so that steps that are done again commit the same ones.
With `write: replace` and `merge` they go to a staging table first, and from there to the table in one statement.

Unbounded: each bundle's stream is committed by itself, when the bundle ends and before its messages are acknowledged;
again a bundle that failed leaves nothing. (A stream that is committed as it goes would: its rows are visible before the
bundle is done, and the bundle's second try writes them again.) A process that is killed between the two reads the same
messages again, and drops those whose rows the table has. On Dataflow what goes over a shuffle is kept until it is
processed: there the names of streams do, and each is committed once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from classer_core.records import FAILURE_SCHEMA
from classer_core.storage import join, remove_folder
from pipelines.bigquery.append import AppendStream, commit
from pipelines.bigquery.checks import Refusal, RowCheck
from pipelines.bigquery.clients import rest_client
from pipelines.bigquery.jobs import run_once
from pipelines.bigquery.merge import Merge
from pipelines.bigquery.names import TableName
from pipelines.bigquery.recent import RecentRows, recent_rows
from pipelines.bigquery.recorded import RecordedStreams
from pipelines.bigquery.refused import failures_of, shortened
from pipelines.bigquery.schema import result_table_schema
from pipelines.bigquery.settings import TableOutput
from pipelines.budget import give_back
from pipelines.limits import Verdict
from pipelines.writers.files import WriteTemporaryFiles
from pipelines.written import Written

REFUSED = "refused"
# Runners that keep what goes over a shuffle until it is processed, and process it once; on others it may be lost with
# the process, after its messages were acknowledged.
DURABLE_RUNNERS = ("DataflowRunner",)


class Target(NamedTuple):
    """Where a run's rows go: `table` in the end, `staged` before, if that is another one."""

    output: TableOutput
    schema: pa.Schema
    run: str

    @property
    def table(self) -> TableName:
        """The output's table."""
        return TableName.parse(self.output.table)

    @property
    def staged(self) -> TableName:
        """The table that rows are written to."""
        return self.table if self.output.write == "append" else self.table.staging(self.run)

    @property
    def is_results(self) -> bool:
        """Whether these are results; else failures."""
        return self.schema.names != FAILURE_SCHEMA.names

    @property
    def row_schema(self) -> pa.Schema:
        """The columns that this run writes."""
        return result_table_schema(self.schema) if self.is_results else self.schema

    def recorded(self) -> RecordedStreams:
        """The streams whose rows this run commits."""
        return RecordedStreams(self.table, self.staged, self.run)

    def recent(self) -> RecentRows:
        """The digests of rows that the table has got lately."""
        return recent_rows(self.table, ("id", "fingerprint") if self.is_results else ("id", "code"))

    @property
    def files(self) -> str:
        """The folder of a load job's files."""
        assert self.output.temporary is not None  # `method: load` has one
        return join(self.output.temporary, f"classer-{self.run}-{self.table.table}")


class WriteTable(beam.PTransform[Any, Any]):
    """Writes batches to a table. What comes out is `Written`, with the rows that it does not take.

    Args:
        output: the table, and how it is written to.
        schema: of the batches: results, or failures, of which none is refused.
        run: name of this run.
        is_stream: whether the rows of each bundle are to be seen when it ends; else `CommitTable` commits them.
    """

    def __init__(
        self,
        output: TableOutput,
        schema: pa.Schema,
        run: str,
        is_stream: bool = False,
    ) -> None:
        super().__init__()
        self._target = Target(output, schema, run)
        self._is_stream = is_stream

    def expand(self, batches: Any) -> Any:
        """Checks and writes bundle by bundle; of a stream, commits too."""
        target = self._target
        durable = type(batches.pipeline.runner).__name__ in DURABLE_RUNNERS
        checked = batches | "CheckRows" >> beam.ParDo(CheckRows(target)).with_outputs(REFUSED, main="rows")
        if target.output.method == "load":
            files = beam.ParDo(WriteTemporaryFiles(target.files, "parquet"))
            written, refused = checked.rows | "WriteFiles" >> files, [checked[REFUSED]]
        else:
            recent = self._is_stream and not durable
            appended = beam.ParDo(AppendRows(target, self._is_stream, recent)).with_outputs(REFUSED, main="streams")
            sent = checked.rows | "AppendRows" >> appended
            written = sent.streams
            refused = [checked[REFUSED], sent[REFUSED]]
        if self._is_stream:
            if durable:
                written |= "Durable" >> beam.Reshuffle()
            return Written(tuple(refused), written | "CommitStream" >> beam.ParDo(CommitStream(target)))
        return Written(tuple(refused), written)


class CheckRows(beam.DoFn):
    """Give batches the table's types, and take out the rows that it would refuse."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def setup(self) -> None:
        """The table as it is: once per worker."""
        target = self._target
        # A staging table has the same columns; it may be gone when the step is done again.
        fields = rest_client(target.table.project).get_table(str(target.table)).schema
        key = target.output.key if target.output.write == "merge" else ()
        self._check = RowCheck(target.row_schema, fields, key)

    def process(self, batch: pa.RecordBatch) -> Iterable[Any]:
        """Good rows to the main output, failures to `refused`."""
        if not batch.num_rows:
            return
        if self._target.is_results:
            now = pa.array([datetime.now(UTC)] * len(batch), self._target.row_schema.field(-1).type)
            rows = pa.RecordBatch.from_arrays([*batch.columns, now], schema=self._target.row_schema)
        else:
            rows = shortened(batch)
        good, refusals = self._check.check(rows)
        if refusals:
            yield beam.pvalue.TaggedOutput(REFUSED, _refused(self._target, rows, refusals))
        if good.num_rows:
            yield good


class AppendRows(beam.DoFn):
    """Write checked batches, and yield the name of the bundle's finalized stream. Refused rows go to `refused`.

    Args:
        target: where to.
        is_stream: whether each bundle's stream is committed by itself.
        recent: whether rows are left out that the table has got lately.
    """

    def __init__(self, target: Target, is_stream: bool = False, recent: bool = False) -> None:
        self._target = target
        self._is_stream = is_stream
        self._looks_back = recent
        self._is_over = False

    def setup(self) -> None:
        """Once per worker, and again after a failure: other workers may have written what comes again."""
        self._recent = None
        if self._looks_back:
            self._recent = self._target.recent()
            self._recent.load("classified_at" if self._target.is_results else "attempted_at")
        # Rows that are written after the run's streams are recorded are never committed, and their table may be gone.
        self._is_over = not self._is_stream and self._target.recorded().are_there()

    def start_bundle(self) -> None:
        """No stream before there are rows."""
        self._stream: AppendStream | None = None

    def process(self, batch: pa.RecordBatch) -> Iterable[Any]:
        """Appends to the bundle's stream."""
        if self._recent is not None:
            batch = self._recent.new(batch)
        if not batch.num_rows or self._is_over:
            return
        if self._stream is None:
            self._stream = AppendStream(self._target.staged, batch.schema)
        if refusals := self._stream.append(batch):
            yield beam.pvalue.TaggedOutput(REFUSED, _refused(self._target, batch, refusals))
        if self._recent is not None:
            refused = {refusal.row for refusal in refusals}
            taken = [row for row in range(len(batch)) if row not in refused]
            self._recent.sent(self._stream.name, batch.take(pa.array(taken, pa.int32())))

    def finish_bundle(self) -> Iterable[WindowedValue]:
        """Only finalized streams are named."""
        if self._stream is not None and self._stream.finalize():
            yield WindowedValue(self._stream.name, MIN_TIMESTAMP, (GlobalWindow(),))


class CommitStream(beam.DoFn):
    """Names of finalized streams in; their rows are in the table then."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def setup(self) -> None:
        """Once per worker."""
        self._recent = self._target.recent()

    def process(self, stream: str) -> None:
        """Safe to be tried again."""
        commit(self._target.table, [stream])
        self._recent.committed(stream)


class CommitTable(beam.DoFn):
    """All streams, or files, of a run become the table's rows, at once.

    Safe to be tried again, also with the streams or files of other bundles: the first ones are the run's.

    Args:
        target: where to.
        newest_by: the column that says which of two rows to be merged is newer.
    """

    def __init__(self, target: Target, newest_by: str | None) -> None:
        self._target = target
        self._newest_by = newest_by

    def process(self, _: None, verdict: Verdict, written: list[str]) -> None:
        """Nothing comes out; nothing is committed where the verdict on the run forbids it."""
        if not verdict.publishes:
            return
        target, output = self._target, self._target.output
        merge = None if output.write == "append" else Merge(target.table, target.staged, target.row_schema.names)
        if merge is None or not merge.is_done():
            if output.method == "load":
                load_files(target, written)
            else:
                written = target.recorded().of(written)
                commit(target.staged, written)
            if merge is not None and not written and output.write == "merge":
                merge.drop()
            elif merge is not None:
                merge.run(output.key if output.write == "merge" else (), self._newest_by)
        else:
            merge.drop()


def load_files(target: Target, files: list[str]) -> None:
    """One load job takes all files, and all their rows or none."""
    from google.cloud import bigquery

    if not files:
        return
    client = rest_client(target.table.project)
    lists = bigquery.ParquetOptions()
    lists.enable_list_inference = True
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET, write_disposition="WRITE_APPEND", parquet_options=lists
    )
    location = client.get_table(str(target.staged)).location

    def start(job_id: str) -> Any:
        table = str(target.staged)
        return client.load_table_from_uri(sorted(files), table, job_id=job_id, location=location, job_config=config)

    run_once(client, f"classer_load_{target.run}_{target.table.digest}", location, start)
    remove_folder(target.files)


def _refused(target: Target, rows: pa.RecordBatch, refusals: list[Refusal]) -> pa.RecordBatch:
    if not target.is_results:
        first = refusals[0]
        raise ValueError(f"{target.table} does not take a failure: column {first.column}: {first.reason}")
    give_back(target.run, len(refusals))
    return failures_of(rows, refusals)
