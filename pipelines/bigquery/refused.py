"""Rows that a table does not take, as rows of the failures."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics

from classer_core.errors import FailureCode
from classer_core.records import FAILURE_SCHEMA, Failure, failures_to_arrow
from pipelines.bigquery.checks import Refusal
from pipelines.chunks import record_json, row_values
from pipelines.classify import NAMESPACE

# A failure is kept whatever its record is: a row of BigQuery has at most 10 MB.
KEPT_RECORD_CHARS = 1 << 20


def failures_of(batch: pa.RecordBatch, refusals: Sequence[Refusal]) -> pa.RecordBatch:
    """Return the refused among result rows as failures, and count them as such."""
    failures = []
    for refusal in refusals:
        row = row_values(batch, refusal.row)
        message = f"column {refusal.column}: {refusal.reason}" if refusal.column else refusal.reason
        failures.append(
            Failure(str(row["id"]), "write", FailureCode.ROW_REFUSED, message, refusal.column, record_json(row))
        )
    Metrics.counter(NAMESPACE, f"failures.{FailureCode.ROW_REFUSED}").inc(len(failures))
    return failures_to_arrow(failures)


def shortened(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Failures whose records are not too large for a row."""
    if batch.schema.names != FAILURE_SCHEMA.names or batch.nbytes <= KEPT_RECORD_CHARS:
        return batch
    place = batch.schema.get_field_index("record")
    return batch.set_column(place, "record", pc.utf8_slice_codeunits(batch.column(place), 0, KEPT_RECORD_CHARS))
