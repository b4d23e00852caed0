"""The streams of a run, recorded before they are committed: whoever does the run's steps again commits the same ones.

A runner may execute a step again whose end it did not hear of. The second time, rows go to other streams; committed
beside the first ones they would be in the table twice. So the first list of streams is the run's, for good. The record
is a job of BigQuery: of one id there is one, and its result is what it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.bigquery.clients import rest_client
from pipelines.bigquery.jobs import is_done, run_once
from pipelines.bigquery.names import TableName

SQL = "SELECT stream FROM UNNEST(@streams) AS stream"


class RecordedStreams:
    """The streams of one run, of those that go to one table.

    Args:
        table: what the run writes in the end.
        staged: what the streams belong to.
        run: name of the run.
    """

    def __init__(self, table: TableName, staged: TableName, run: str) -> None:
        self._client = rest_client(table.project)
        self._location = self._client.get_table(str(table)).location
        self._prefix = f"{staged.path}/streams/"
        self._name = f"classer_streams_{run}_{table.digest}"

    def are_there(self) -> bool:
        """Return whether the run has come so far: what is written from now on is not its own."""
        return is_done(self._client, self._name, self._location)

    def of(self, streams: Sequence[str]) -> list[str]:
        """Return the run's streams: these, unless others were recorded before."""
        from google.cloud import bigquery

        names = sorted(stream.removeprefix(self._prefix) for stream in streams)
        parameter = bigquery.ArrayQueryParameter("streams", "STRING", names)
        config = bigquery.QueryJobConfig(query_parameters=[parameter])

        def start(job_id: str) -> Any:
            return self._client.query(SQL, job_id=job_id, location=self._location, job_config=config, job_retry=None)

        job = run_once(self._client, self._name, self._location, start)
        return [self._prefix + row.stream for row in job.result()]
