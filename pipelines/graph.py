"""The whole program on one screen.

ReadRecords -> Spread -> FetchContents -> (JoinAnswers) -> ClassifyRecords -> WriteResults -> WriteFailures ->
  or ReadStream                                                                   PublishRows, if JudgeRun allows it

Spread does nothing on a local runner. JoinAnswers is there with `dedup: global` (answers of
AnswerDistinct) and with `only: stale` (those of the last output). The readers of a stream fetch for themselves, each
slow record at its own pace. Rows that an output refuses join the failures. `max_rows` and `max_tokens` leave records
before ClassifyRecords.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions

from classer_core.cached import CachedEngine
from classer_core.records import FAILURE_SCHEMA
from pipelines.bigquery.marks import KeepMark, Mark
from pipelines.budget import POSTPONED, SpendBudget, TakeBudget
from pipelines.chunks import CHUNK_ROWS, output_schema
from pipelines.classify import ClassifyRecords
from pipelines.dedup import AnswerDistinct
from pipelines.fetch import FetchContents
from pipelines.gold import KeepRecords
from pipelines.job import Job
from pipelines.job.sections import FileOutput
from pipelines.known import JoinAnswers
from pipelines.queues.settings import queue_settings
from pipelines.read import ReadRecords
from pipelines.readers import Columns
from pipelines.spread import SpreadChunks
from pipelines.streaming.source import ReadStream, Stream
from pipelines.verdict import JudgeRun
from pipelines.write import PublishRows, WriteFailures, WriteResults, watermark_column

# Rows reach a topic at once; after so long their messages are acknowledged. Between two bundles Beam's local runner
# stands still for up to 0.2 s.
TOPIC_BUNDLE_S = 10.0
# Flink makes no checkpoint while a bundle is open, and gives one up after ten minutes.
FLINK_BUNDLE_S = 300.0


def build(
    pipeline: beam.Pipeline,
    job: Job,
    columns: Columns,
    run: str,
    folder: str,
    load: Callable[[], CachedEngine],
    only: frozenset[str] | None = None,
    readers: int | None = 1,
    is_leased: bool = False,
) -> None:
    """Adds a job's steps to a pipeline.

    Args:
        pipeline: where to.
        job: what to do.
        columns: what the job takes from its source (`source_columns(job)`).
        run: name of this run, in letters, digits and underscores.
        folder: file names in ids are relative to it.
        load: loads the engine; called once per worker process, so it must be picklable.
        only: ids of the records to classify; without, all of them.
        readers: how many workers read a stream side by side; None reads it with Beam's own connectors.
        is_leased: whether the run holds its folders as long as it goes on.
    """
    if job.source.is_stream:
        records = pipeline | "Records" >> StreamedRecords(job, columns, folder, load, readers)
    else:
        records = pipeline | "Records" >> FetchedRecords(job, columns, folder)
    if only is not None:
        records = records | "KeepRecords" >> beam.ParDo(KeepRecords(only))
    if job.dedup == "global":
        # Read twice instead of shuffled: rows stay where they are, only distinct contents and their answers travel.
        once = pipeline | "RecordsForDedup" >> FetchedRecords(job, columns, folder)
        answers = once | "AnswerDistinct" >> AnswerDistinct(job, load, run)
        records = records | "JoinAnswers" >> beam.ParDo(JoinAnswers(job, load, run), beam.pvalue.AsIter(answers))
    elif job.only == "stale":
        records = records | "JoinAnswers" >> beam.ParDo(JoinAnswers(job, load, run))
    budget, postponed = (run, job.max_rows, job.max_tokens), None
    if job.max_rows is not None or job.max_tokens is not None:
        taken = records | "TakeBudget" >> beam.ParDo(TakeBudget(*budget)).with_outputs(POSTPONED, main="records")
        records, postponed = taken.records, taken[POSTPONED]
    classified = records | "ClassifyRecords" >> ClassifyRecords(load, job.abstention)
    if postponed is not None:
        classified = classified | "SpendBudget" >> beam.ParDo(SpendBudget(*budget))
    results_schema = output_schema(columns.passed)
    results = classified | "WriteResults" >> WriteResults(job, results_schema, run)
    done = results.failures | "WriteFailures" >> WriteFailures(job, run)
    if job.source.is_stream:
        return
    verdict = classified | "JudgeRun" >> JudgeRun(job.limits, results.failures)
    written = [(job.output, results_schema, results.done), (job.failures_output, FAILURE_SCHEMA, *done)]
    published = verdict | "PublishRows" >> PublishRows(job, run, is_leased, written)
    if watermark_column(job) is not None:
        mark = Mark(job.source, columns.scope.until)
        withheld = verdict | "Withheld" >> beam.Map(lambda verdict: int(not verdict.publishes))
        left = withheld if postponed is None else (withheld, postponed) | "Left" >> beam.Flatten()
        _ = pipeline | "KeepMark" >> KeepMark(job.output, mark, [results.done, *done, *published], left)


class FetchedRecords(beam.PTransform[Any, Any]):
    """The records of a job's source, with the bytes of their attachments."""

    def __init__(self, job: Job, columns: Columns, folder: str) -> None:
        super().__init__()
        self._job = job
        self._columns = columns
        self._folder = folder

    def expand(self, pbegin: Any) -> Any:
        """Read, redistribute the chunks if there are machines to share them, and fetch."""
        rules, own_files = self._job.fetch_rules(self._folder), self._job.own_files
        return (
            pbegin
            | "ReadRecords" >> ReadRecords(self._job, self._columns, self._folder)
            | "Spread" >> SpreadChunks()
            | "FetchContents" >> beam.ParDo(FetchContents(rules, own_files))
        )


class StreamedRecords(beam.PTransform[Any, Any]):
    """The records of a job's queue, with the bytes of their attachments."""

    def __init__(
        self, job: Job, columns: Columns, folder: str, load: Callable[[], CachedEngine], readers: int | None
    ) -> None:
        super().__init__()
        self._job = job
        self._columns = columns
        self._folder = folder
        self._load = load
        self._readers = readers

    def expand(self, pbegin: Any) -> Any:
        """Our own reader, which acknowledges what is written; or a connector of Beam's, where the runner does that."""
        job, rules = self._job, self._job.fetch_rules(self._folder)
        if self._readers is None:
            from pipelines.streaming.connectors import ParseMessages, ReadMessages

            return (
                pbegin
                | "ReadMessages" >> ReadMessages(job.source, self._folder)
                | "Together" >> beam.BatchElements(1, CHUNK_ROWS)
                | "ParseMessages" >> beam.ParDo(ParseMessages(job, self._columns))
                | "FetchContents" >> beam.ParDo(FetchContents(rules, job.own_files))
            )
        seconds = bundle_seconds(job, pbegin.pipeline.options.view_as(StandardOptions).runner)
        stream = Stream(job, self._columns, self._folder, self._load, seconds)
        return pbegin | "ReadStream" >> ReadStream(stream, queue_settings(job, self._folder), self._readers)


def bundle_seconds(job: Job, runner: str | None) -> float:
    """How long a bundle of a stream is: rows are seen in a folder or a table when it ends, in a topic at once."""
    seconds = job.output.file_seconds if isinstance(job.output, FileOutput) else TOPIC_BUNDLE_S
    return min(seconds, FLINK_BUNDLE_S) if runner == "FlinkRunner" else seconds
