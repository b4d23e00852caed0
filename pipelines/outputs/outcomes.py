"""WriteOutcomes: chunks of outcomes, to an output that takes batches of rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam

from pipelines.chunks import ClassifiedChunk
from pipelines.written import Written

FAILURES = "failures"


class WriteOutcomes(beam.PTransform[Any, Any]):
    """Writes the result rows of `ClassifiedChunk`s by another transform. What comes out is `Written`.

    No Flatten: on some runners it would part the end of a stream's bundle from its beginning.
    """

    def __init__(self, write_rows: beam.PTransform[Any, Any]) -> None:
        super().__init__()
        self._write_rows = write_rows

    def expand(self, chunks: Any) -> Any:
        """Give the failures of the chunks, and those of the rows that the output refuses."""
        outcomes = chunks | "Outcomes" >> beam.ParDo(split_outcomes).with_outputs(FAILURES, main="results")
        written = outcomes.results | "Rows" >> self._write_rows
        if isinstance(written, Written):
            return Written((outcomes[FAILURES], *written.failures), written.done)
        return Written((outcomes[FAILURES],), written)


def split_outcomes(chunk: ClassifiedChunk) -> Iterable[Any]:
    """Yield result rows to the main output, failure rows to `failures`."""
    yield chunk.results
    yield beam.pvalue.TaggedOutput(FAILURES, chunk.failures)
