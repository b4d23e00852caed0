"""The whole program on one screen.

ReadRecords -> Spread -> FetchContents -> (JoinAnswers) -> ClassifyRecords -> WriteResults -> WriteFailures ->
  or ReadStream                                                                   PublishRows, if JudgeRun allows it

Spread does nothing on a local runner. JoinAnswers is there with `dedup: global` (answers of AnswerDistinct) and with
`only: stale` (those of the last output): from a table on the disk of one process, or by a keyed join where a runner has
several machines. The readers of a stream fetch for themselves, each slow record at its own pace. Rows that an output
refuses join the failures. `max_rows`, `max_tokens` and `max_cost` leave records before ClassifyRecords.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions

from classer_core.cached import CachedEngine
from classer_core.fetching.rules import FetchRules
from classer_core.records import FAILURE_SCHEMA, result_schema
from pipelines.budget import POSTPONED, SpendBudget, TakeBudget
from pipelines.chunks import CHUNK_ROWS, output_schema
from pipelines.classify import ClassifyRecords
from pipelines.dedup import AnswerDistinct
from pipelines.fetch import FetchContents
from pipelines.gold import KeepRecords
from pipelines.job.model import Job
from pipelines.joining import JoinByKey, ReadLast
from pipelines.known import JoinAnswersFn, LastOutput
from pipelines.read import ReadRecords
from pipelines.readers import Columns
from pipelines.requests import Requests
from pipelines.sources import BoundedSource, StreamSource
from pipelines.spread import SpreadChunks, has_other_machines
from pipelines.streaming.source import ReadStream, Stream
from pipelines.verdict import JudgeRun
from pipelines.write import PublishRows, WriteFailures, WriteResults, WrittenRows
from pipelines.written import WritePlan

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
    """Add a job's steps to a pipeline.

    Args:
        pipeline: where to.
        job: what to do.
        columns: what the job takes from its source (`job.source.find_columns(job.selection)`).
        run: name of this run, in letters, digits and underscores.
        folder: file names in ids are relative to it.
        load: loads the engine; called once per worker process, so it must be picklable.
        only: ids of the records to classify; without, all of them.
        readers: how many workers read a stream side by side; None reads it with Beam's own connectors.
        is_leased: whether the run holds its folders as long as it goes on.
    """
    rules, stream = job.fetch_rules(folder), job.stream
    scored = job.scores is not None
    last = LastOutput(job.output, run, job.abstention, job.mode, scored) if job.only == "stale" else None
    if stream is not None:
        if readers is None:
            records = pipeline | "Records" >> ConnectedRecords(stream, columns, job.requests, rules)
        else:
            spec = stream_of(job, columns, folder, load, bundle_seconds(job.output.bundle_s, _runner_of(pipeline)))
            records = pipeline | "Records" >> StreamedRecords(spec, stream, job.folders, readers)
    else:
        fetched = FetchedRecords(job.bounded_source, columns, job.requests, rules)
        records = pipeline | "Records" >> fetched
    if only is not None:
        records = records | "KeepRecords" >> beam.ParDo(KeepRecords(only))
    # One process keeps a table on its disk; several would each copy the whole last output.
    is_spread = has_other_machines(pipeline)
    last_rows = pipeline | "LastOutput" >> ReadLast(last) if last is not None and is_spread else None
    distinct = None
    if job.dedup == "global":
        # Read twice instead of shuffled: rows stay where they are, only distinct contents and their answers travel.
        once = pipeline | "RecordsForDedup" >> FetchedRecords(job.bounded_source, columns, job.requests, rules)
        distinct = once | "AnswerDistinct" >> AnswerDistinct(job.requests, load, last, last_rows)
    if last_rows is not None or (distinct is not None and is_spread):
        records = records | "JoinAnswers" >> JoinByKey(load, job.output, last_rows, distinct)
    elif distinct is not None:
        join = JoinAnswersFn(load, run, last)
        records = records | "JoinAnswers" >> beam.ParDo(join, beam.pvalue.AsIter(distinct))
    elif last is not None:
        records = records | "JoinAnswers" >> beam.ParDo(JoinAnswersFn(load, run, last))
    budget, postponed = (run, job.max_rows, job.token_budget), None
    if job.max_rows is not None or job.token_budget is not None:
        taken = records | "TakeBudget" >> beam.ParDo(TakeBudget(*budget)).with_outputs(POSTPONED, main="records")
        records, postponed = taken.records, taken[POSTPONED]
    classified = records | "ClassifyRecords" >> ClassifyRecords(load, job.abstention, scored)
    if postponed is not None:
        classified = classified | "SpendBudget" >> beam.ParDo(SpendBudget(*budget))
    results_plan = WritePlan(output_schema(columns.passed, scored), run, stream is not None, job.folders)
    failures_plan = WritePlan(FAILURE_SCHEMA, run, stream is not None, job.folders)
    results = classified | "WriteResults" >> WriteResults(job.output, results_plan)
    done = results.failures | "WriteFailures" >> WriteFailures(job.failures_output, failures_plan)
    if stream is not None:
        return
    verdict = classified | "JudgeRun" >> JudgeRun(job.limits, results.failures)
    rows = WrittenRows(job.output, results_plan, results.done)
    failures = WrittenRows(job.failures_output, failures_plan, *done)
    own = len(result_schema(scored))
    result_names = dict(zip(columns.passed.names, results_plan.schema.names[own:], strict=True))
    newest_by = result_names.get(job.source.watermark_column or "")
    publish = PublishRows(run, is_leased, rows, failures, newest_by)
    published = verdict | "PublishRows" >> publish
    if (table := job.output.watermark_table) is not None:
        withheld = verdict | "Withheld" >> beam.Map(lambda verdict: int(not verdict.publishes))
        left = withheld if postponed is None else (withheld, postponed) | "Left" >> beam.Flatten()
        complete = [results.done, *done, *published]
        if (keep := job.bounded_source.keep_watermark(table, columns.scope, complete, left)) is not None:
            _ = pipeline | "KeepWatermark" >> keep


class FetchedRecords(beam.PTransform[Any, Any]):
    """Reads the records of a source that ends, with the bytes of their attachments."""

    def __init__(self, source: BoundedSource, columns: Columns, requests: Requests, rules: FetchRules) -> None:
        super().__init__()
        self._read = ReadRecords(source, columns, requests, rules.folder)
        self._fetch = FetchContents(rules, source.own_files)

    def expand(self, pbegin: Any) -> Any:
        """Read, redistribute the chunks if there are machines to share them, and fetch."""
        return (
            pbegin
            | "ReadRecords" >> self._read
            | "Spread" >> SpreadChunks()
            | "FetchContents" >> beam.ParDo(self._fetch)
        )


class StreamedRecords(beam.PTransform[Any, Any]):
    """Reads the records of a queue, with the bytes of their attachments, and acknowledges what is written."""

    def __init__(self, spec: Stream, source: StreamSource, folders: tuple[str, ...], readers: int) -> None:
        super().__init__()
        self._read = ReadStream(spec, source.queue(spec.rules.folder, folders), readers)

    def expand(self, pbegin: Any) -> Any:
        """Leave reading, parsing and fetching to our own reader."""
        return pbegin | "ReadStream" >> self._read


class ConnectedRecords(beam.PTransform[Any, Any]):
    """Reads the records of a queue with Beam's connector, for runners that know it, and fetches their attachments."""

    def __init__(self, source: StreamSource, columns: Columns, requests: Requests, rules: FetchRules) -> None:
        super().__init__()
        self._source = source
        self._columns = columns
        self._requests = requests
        self._rules = rules

    def expand(self, pbegin: Any) -> Any:
        """Read, parse, then fetch."""
        from pipelines.streaming.connectors import ParseMessagesFn

        parse = ParseMessagesFn(self._columns, self._requests, self._source.message_id_attribute)
        return (
            pbegin
            | "ReadMessages" >> self._source.messages(self._rules.folder)
            | "Together" >> beam.BatchElements(1, CHUNK_ROWS)
            | "ParseMessages" >> beam.ParDo(parse)
            | "FetchContents" >> beam.ParDo(FetchContents(self._rules, self._source.own_files))
        )


def stream_of(job: Job, columns: Columns, folder: str, load: Callable[[], CachedEngine], bundle_s: float) -> Stream:
    """Return what the readers of a job's stream have to know.

    Raises:
        ValueError: the source of the job ends.
    """
    source = job.stream
    if source is None:
        raise ValueError(f"a source with format: {job.source.format} ends")
    return Stream(
        columns=columns,
        requests=job.requests,
        classifiers=job.classifiers,
        refresh_s=job.refresh,
        rules=job.fetch_rules(folder),
        load=load,
        bundle_s=bundle_s,
        own_files=source.own_files,
        id_attribute=source.message_id_attribute,
        stop_when_idle_s=source.stop_when_idle,
    )


def bundle_seconds(seconds: float, runner: str | None) -> float:
    """Return how long a bundle of a stream may be; rows of a folder or a table are seen when it ends."""
    return min(seconds, FLINK_BUNDLE_S) if runner == "FlinkRunner" else seconds


def _runner_of(pipeline: beam.Pipeline) -> str | None:
    runner = pipeline.options.view_as(StandardOptions).runner
    return None if runner is None else str(runner)
