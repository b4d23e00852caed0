"""Some records of a job's source, without a pipeline: for looking before a job is run."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from classer_core.errors import JobError, Problem
from classer_core.records import Failure, Record
from pipelines.chunks import Chunk, check_requests, without_columns
from pipelines.fetch import FetchContents
from pipelines.job.model import Job
from pipelines.readers import Columns
from pipelines.requests import Requests
from pipelines.sources import BoundedSource, Source

# Rows that are looked at before a run.
LOOKED_AT_ROWS = 1_000
# Where fewer rows than these all fail, they may just be a bad day's rows.
TELLING_ROWS = 20
REASONS_SHOWN = 3
# Rows that are read for each row of the sample: a source may be too large to be read for a look at it.
READ_PER_SAMPLED = 50


@dataclass
class FirstLook:
    """A sample of a source's rows after parsing: how many there were, and those that failed."""

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


def first_look(source: Source, columns: Columns, requests: Requests, folder: str) -> FirstLook:
    """Parse some rows of a source, the same ones each time; nothing is fetched or classified.

    Streams and documents have nothing to be parsed before they are read, and a table is read once.

    Raises:
        JobError: every one of them fails: the job does not fit its source.
    """
    look = FirstLook()
    if not isinstance(source, BoundedSource):
        return look
    parser = requests.parser()
    for part in source.first_parts(random.Random(0)):
        chunk = next(source.read(part, columns, folder), None)
        if chunk is not None:
            checked = check_requests(chunk, parser)
            look.rows += len(checked) + len(checked.failures)
            look.failures += checked.failures
        if look.rows >= LOOKED_AT_ROWS:
            break
    if look.rows >= TELLING_ROWS and len(look.failures) == look.rows:
        remedy = "Correct source.columns, record_fields or source.format; the last output is as it was."
        raise JobError([Problem("source.path", ", ".join(source.patterns), str(look), remedy)])
    return look


def sample_records(job: Job, folder: str, size: int) -> list[Record]:
    """Return a random sample of a job's records, the same one each time, with the bytes of their attachments.

    Rows come from parts of the source in random order. What can't be read or fetched is left out.

    Raises:
        JobError: no file, a column that is not there, or a source that is a stream.
    """
    chosen = random.Random(0)
    kept: list[Record] = []
    read = 0
    for chunk in checked_chunks(job, folder, chosen):
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
    """Return the records of a job that have these ids, with the bytes of their attachments.

    Raises:
        JobError: no file, a column that is not there, or a source that is a stream.
    """
    chunks = checked_chunks(job, folder)
    return _fetched(job, folder, [record for chunk in chunks for record in chunk.records if record.id in ids])


def checked_chunks(job: Job, folder: str, shuffled: random.Random | None = None) -> Iterator[Chunk]:
    """Yield the records of a job part by part, nothing fetched; those that break a rule are in `failures`."""
    source = job.bounded_source
    columns = source.find_columns(job.selection)
    parts = list(source.parts(columns))
    if shuffled is not None:
        shuffled.shuffle(parts)
    parser = job.request_parser()
    for part in parts:
        for chunk in source.read(part, columns, folder):
            yield check_requests(chunk, parser)


def _fetched(job: Job, folder: str, records: list[Record]) -> list[Record]:
    """Return those whose attachments could be had."""
    fetch = FetchContents(job.fetch_rules(folder), job.source.own_files)
    chunk = Chunk(records, without_columns(len(records)), [])
    return [record for part in fetch.process(chunk) for record in part.records]
