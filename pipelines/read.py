"""ReadRecords: read the parts of a source that ends as chunks of checked records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam

from pipelines.chunks import Chunk, check_requests
from pipelines.readers import Columns
from pipelines.requests import Requests
from pipelines.sources import BoundedSource
from pipelines.spread import SpreadParts


class ReadRecords(beam.PTransform[Any, Any]):
    """Reads a source that ends.

    Rows that can't be read, or break a rule of the request, are in their chunk's `failures`; so is a damaged file,
    once, while other files go on.
    """

    def __init__(self, source: BoundedSource, columns: Columns, requests: Requests, folder: str = "") -> None:
        super().__init__()
        self._list = ListPartsFn(source, columns)
        self._read = ReadPartFn(source, columns, requests, folder)

    def expand(self, pbegin: Any) -> Any:
        """List the parts on one worker, read each on whatever worker it falls to."""
        return (
            pbegin
            | "Once" >> beam.Create([None], reshuffle=False)
            | "Parts" >> beam.ParDo(self._list)
            | "Spread" >> SpreadParts()
            | "Read" >> beam.ParDo(self._read)
        )


class ListPartsFn(beam.DoFn):
    """Gives the parts of a source, whatever comes in."""

    def __init__(self, source: BoundedSource, columns: Columns) -> None:
        self._source = source
        self._columns = columns

    def process(self, _: None) -> Iterable[Any]:
        """Yield each part."""
        yield from self._source.parts(self._columns)


class ReadPartFn(beam.DoFn):
    """Reads parts of a source, and checks their rows."""

    def __init__(self, source: BoundedSource, columns: Columns, requests: Requests, folder: str) -> None:
        self._source = source
        self._columns = columns
        self._requests = requests
        self._folder = folder

    def setup(self) -> None:
        """Make the parser: classifiers of the job and of the records are shared by all parts."""
        self._parser = self._requests.parser()

    def process(self, part: Any) -> Iterable[Chunk]:
        """Yield the rows of one part as checked records."""
        for chunk in self._source.read(part, self._columns, self._folder):
            yield check_requests(chunk, self._parser)
