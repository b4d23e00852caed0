"""Redistribution of work over the workers: of parts before they are read, and of chunks before the model."""

from __future__ import annotations

import random
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions

# These run all steps on one machine, where a copy of a chunk would cost and not help.
LOCAL_RUNNERS = (None, "FnApiRunner", "DirectRunner", "PrismRunner", "BundleBasedDirectRunner", "SwitchingDirectRunner")
KEY_BITS = 32


def has_other_machines(pipeline: beam.Pipeline) -> bool:
    """Return whether a pipeline's runner may run steps on several machines."""
    return pipeline.options.view_as(StandardOptions).runner not in LOCAL_RUNNERS


class SpreadParts(beam.PTransform[Any, Any]):
    """Redistribute a few small elements: parts of files, or streams of a table.

    By random keys and not with Reshuffle, because Flink keeps only one Reshuffle of a pipeline: its optimizer takes
    what follows the first one for evenly distributed, and drops the second one, which is that of the chunks.
    """

    def expand(self, parts: Any) -> Any:
        """Return the same elements, each on any worker."""
        return (
            parts
            | "Key" >> beam.Map(lambda part: (random.getrandbits(KEY_BITS), part))
            | "Group" >> beam.GroupByKey()
            | "Parts" >> beam.FlatMap(lambda group: group[1])
        )


class SpreadChunks(beam.PTransform[Any, Any]):
    """Redistribute chunks of records between reading and the model, on runners that have other machines.

    One compressed file, CSV file or query is read by one worker. Runners fuse the steps after it with reading, unless
    there is a redistribution between them: without it that worker alone would also fetch and classify all of it.
    """

    def expand(self, chunks: Any) -> Any:
        """Return the same chunks; on a local runner as they are."""
        return chunks | "Reshuffle" >> beam.Reshuffle() if has_other_machines(chunks.pipeline) else chunks
