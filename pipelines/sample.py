"""Some records of a job's source, without a pipeline: for looking before a job is run."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pyarrow as pa

from classer_core.errors import JobError, Problem
from classer_core.records import Failure, Record
from pipelines.chunks import Chunk
from pipelines.fetch import FetchContents
from pipelines.job import Job
from pipelines.job.checks import need_end
from pipelines.job.sections import BigQuerySource, FileSource
from pipelines.read import ListDocuments, ReadPart, SplitFile, source_columns
from pipelines.readers import Columns
from pipelines.storage import find_files

# Rows that are looked at before a run, and the files that they come from.
LOOKED_AT_ROWS, LOOKED_AT_FILES = 1_000, 8
# Where fewer rows than these all fail, they may just be a bad day's rows.
TELLING_ROWS = 20
REASONS_SHOWN = 3
# Rows that are read for each row of the sample: a source may be too large to be read for a look at it.
READ_PER_SAMPLED = 50


@dataclass
class FirstLook:
    """What became of some rows of a source when they were parsed: how many there were, and those that failed."""

    rows: int = 0
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        """The share that fails, and the most frequent reasons with an example each."""
        share = len(self.failures) / max(self.rows, 1)
        lines = [f"{len(self.failures):,} of {self.rows:,} sampled rows ({share:.1%}) would fail:"]
        counts = Counter(failure.code for failure in self.failures)
        for code, count in counts.most_common(REASONS_SHOWN):
            example = next(failure for failure in self.failures if failure.code == code)
            lines.append(f"  {code} {count:,}: {example.id}: {example.message}")
        return "\n".join(lines)


def first_look(job: Job, columns: Columns, folder: str) -> FirstLook:
    """Parses some rows of a job's files, the same ones each time; nothing is fetched or classified.

    Streams and documents have nothing to be parsed before they are read, and a table is read once.

    Raises:
        JobError: every one of them fails: the job does not fit its source.
    """
    look = FirstLook()
    if not isinstance(job.source, FileSource) or job.source.format == "documents":
        return look
    chosen = random.Random(0)
    files = list(find_files(job.source.path).items())
    reader = ReadPart(job, columns, folder)
    reader.setup()
    for file in chosen.sample(files, min(LOOKED_AT_FILES, len(files))):
        part = chosen.choice(list(SplitFile(job).process(file)))
        chunk = next(iter(reader.process(part)), None)
        if chunk is not None:
            look.rows += len(chunk) + len(chunk.failures)
            look.failures += chunk.failures
        if look.rows >= LOOKED_AT_ROWS:
            break
    if look.rows >= TELLING_ROWS and len(look.failures) == look.rows:
        remedy = "Correct source.columns, record_fields or source.format; the last output is as it was."
        raise JobError([Problem("source.path", ", ".join(job.source.path), str(look), remedy)])
    return look


def sample_records(job: Job, folder: str, size: int) -> list[Record]:
    """A random sample of a job's records, the same one each time, with the bytes of their attachments.

    Rows come from parts of the source in random order. What can't be read or fetched is left out.

    Raises:
        JobError: no file, a column that is not there, or a source that is a stream.
    """
    need_end(job)
    chosen = random.Random(0)
    if job.source.format == "documents":
        files = list(find_files(job.source.path).items())
        listed = ListDocuments(job, folder)
        listed.setup()
        [chunk] = listed.process(chosen.sample(files, min(size, len(files))))
        return _fetched(job, folder, chunk.records)
    kept: list[Record] = []
    read = 0
    for chunk in _chunks(job, folder, chosen):
        # Algorithm R over the rows of the first parts: each of them is as likely to be kept.
        for record in chunk.records:
            read += 1
            if len(kept) < size:
                kept.append(record)
            elif (place := chosen.randrange(read)) < size:
                kept[place] = record
        if read >= size * READ_PER_SAMPLED:
            break
    return _fetched(job, folder, kept)


def records_of(job: Job, folder: str, ids: Collection[str]) -> list[Record]:
    """The records of a job that have these ids, with the bytes of their attachments.

    Raises:
        JobError: no file, a column that is not there, or a source that is a stream.
    """
    need_end(job)
    if job.source.format == "documents":
        listed = ListDocuments(job, folder)
        listed.setup()
        chunks: Iterable[Chunk] = listed.process(list(find_files(job.source.path).items()))
    else:
        chunks = _chunks(job, folder)
    return _fetched(job, folder, [record for chunk in chunks for record in chunk.records if record.id in ids])


def _chunks(job: Job, folder: str, shuffled: random.Random | None = None) -> Iterator[Chunk]:
    """Chunks of records, part by part."""
    columns = source_columns(job)
    reader, parts = _parts(job, columns, folder)
    if shuffled is not None:
        shuffled.shuffle(parts)
    reader.setup()
    return chain.from_iterable(map(reader.process, parts))


def _parts(job: Job, columns: Columns, folder: str) -> tuple[Any, list[Any]]:
    """What reads the parts of a source, and those parts."""
    if isinstance(job.source, BigQuerySource):
        from pipelines.bigquery.read import ReadStream, open_streams

        return ReadStream(job, columns), open_streams(job.source, columns)
    files = find_files(job.source.path).items()
    return ReadPart(job, columns, folder), [part for file in files for part in SplitFile(job).process(file)]


def _fetched(job: Job, folder: str, records: list[Record]) -> list[Record]:
    """Those whose attachments could be had."""
    rows = pa.RecordBatch.from_struct_array(pa.array([{}] * len(records), pa.struct([])))
    fetch = FetchContents(job.fetch_rules(folder), job.own_files)
    return [record for part in fetch.process(Chunk(records, rows, [])) for record in part.records]
