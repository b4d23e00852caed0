"""Some records of a job's source, without a pipeline: for looking before a job is run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain

import pyarrow as pa

from classer_core.records import Record
from pipelines.chunks import Chunk
from pipelines.fetch import FetchContents
from pipelines.job import Job
from pipelines.read import ListDocuments, ReadPart, SplitFile, source_columns
from pipelines.readers import Part
from pipelines.storage import find_files

# Rows that are read for each row of the sample: a source may be too large to be read for a look at it.
READ_PER_SAMPLED = 50


def sample_records(job: Job, folder: str, size: int) -> list[Record]:
    """A random sample of a job's records, the same one each time, with the bytes of their attachments.

    Rows come from parts of the source in random order. What can't be read or fetched is left out.

    Raises:
        JobError: no file, or a column that is not there.
    """
    columns = source_columns(job)
    files = list(find_files(job.source.path).items())
    chosen = random.Random(0)
    if job.source.format == "documents":
        listed = ListDocuments(job, folder)
        listed.setup()
        chunks = list(listed.process(chosen.sample(files, min(size, len(files)))))
    else:
        parts = [part for file in files for part in SplitFile(job).process(file)]
        chosen.shuffle(parts)
        reader = ReadPart(job, columns, folder)
        reader.setup()
        chunks = [_sampled(reader, parts, size, chosen)]
    fetch = FetchContents(job.fetch_rules(folder), from_source=job.source.format == "documents")
    return [record for chunk in chunks for part in fetch.process(chunk) for record in part.records]


def _sampled(reader: ReadPart, parts: Sequence[tuple[str, Part]], size: int, chosen: random.Random) -> Chunk:
    """Algorithm R over the rows of the first parts: each of them is as likely to be kept."""
    kept: list[Record] = []
    read = 0
    for chunk in chain.from_iterable(map(reader.process, parts)):
        for record in chunk.records:
            read += 1
            if len(kept) < size:
                kept.append(record)
            elif (place := chosen.randrange(read)) < size:
                kept[place] = record
        if read >= size * READ_PER_SAMPLED:
            break
    return Chunk(kept, pa.RecordBatch.from_struct_array(pa.array([{}] * len(kept), pa.struct([]))), [])
