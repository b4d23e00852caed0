"""AppendStream: rows to one write stream of a table, in order, each row once whatever happens to the connection."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipelines.bigquery.checks import Refusal
from pipelines.bigquery.clients import write_client
from pipelines.bigquery.names import TableName

log = logging.getLogger(__name__)

# BigQuery takes 10 MB a request.
REQUEST_BYTES = 8 << 20
PATIENCE_S = 30.0
# A table, or a column, that was just made is known everywhere after some minutes.
SETTLING_S = 600.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 20.0


class AppendStream:
    """A pending write stream: its rows are in the table when it is finalized and committed, and never before.

    Each request says at which row it begins. If an answer is lost, the request is sent again, and BigQuery says that it
    has those rows already.

    Args:
        table: where to.
        schema: of all batches.
    """

    def __init__(self, table: TableName, schema: pa.Schema) -> None:
        self._schema = schema
        self._client = write_client()
        self.name = _create(self._client, table, schema)
        self._rows = 0
        self._connection: _Connection | None = None

    def append(self, batch: pa.RecordBatch) -> list[Refusal]:
        """Sends rows; those that BigQuery refuses are named by their numbers in the batch, all others are there."""
        refused = []
        for start, part in parts(batch, REQUEST_BYTES):
            left = list(range(len(part)))
            while left:
                errors = self._send(part.take(pa.array(left, pa.int32())) if len(left) < len(part) else part)
                if not errors:
                    self._rows += len(left)
                    break
                # A request with a bad row is refused whole, and says which rows are bad.
                refused += [Refusal(start + left[index], None, reason) for index, reason in errors.items()]
                left = [row for index, row in enumerate(left) if index not in errors]
        return refused

    def finalize(self) -> int:
        """No more rows: how many there are."""
        self.close()
        rows = int(self._client.finalize_write_stream(name=self.name).row_count)
        if rows != self._rows:
            raise RuntimeError(f"{self.name} has {rows} rows, {self._rows} were sent")
        return rows

    def close(self) -> None:
        """Lets go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, batch: pa.RecordBatch) -> dict[int, str]:
        """One request: reasons by row if it was refused for its rows."""
        from google.api_core import exceptions
        from google.rpc import code_pb2

        transient = {code_pb2.UNAVAILABLE, code_pb2.INTERNAL, code_pb2.ABORTED, code_pb2.DEADLINE_EXCEEDED}
        transient |= {code_pb2.CANCELLED, code_pb2.RESOURCE_EXHAUSTED}
        give_up_at = time.monotonic() + PATIENCE_S
        wait, resent = FIRST_WAIT_S, False
        while True:
            try:
                if self._connection is None:
                    self._connection = _Connection(self._client, self.name, self._schema)
                response = self._connection.exchange(batch, self._rows)
            except exceptions.GoogleAPICallError as error:
                status, message = error.grpc_status_code, str(error)
                code = code_pb2.UNKNOWN if status is None else status.value[0]
            else:
                if response.row_errors:
                    return {int(item.index): item.message for item in response.row_errors}
                code, message = response.error.code, response.error.message
            if code == code_pb2.OK or (code == code_pb2.ALREADY_EXISTS and resent):
                return {}
            if code not in transient or time.monotonic() > give_up_at:
                raise RuntimeError(f"BigQuery did not take {len(batch)} rows for {self.name}: {message}")
            log.info("%s: %s; sent again", self.name, message)
            self.close()
            time.sleep(wait)
            wait, resent = min(wait * 2, LONGEST_WAIT_S), True


class _Connection:
    """Requests and their answers, one at a time."""

    def __init__(self, client: Any, stream: str, schema: pa.Schema) -> None:
        self._client = client
        self._stream = stream
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._schema: bytes | None = schema.serialize().to_pybytes()
        self._responses: Any = None

    def exchange(self, batch: pa.RecordBatch, offset: int) -> Any:
        """Append rows that begin at an offset, and return BigQuery's answer."""
        from google.api_core import exceptions
        from google.cloud.bigquery_storage_v1 import types

        rows = types.AppendRowsRequest.ArrowData()
        if self._schema is not None:  # the first request says what all are
            rows.writer_schema.serialized_schema, self._schema = self._schema, None
        rows.rows.serialized_record_batch = batch.serialize().to_pybytes()
        self._requests.put(types.AppendRowsRequest(write_stream=self._stream, offset=offset, arrow_rows=rows))
        if self._responses is None:  # the client waits for the first answer before it returns
            routing = [("x-goog-request-params", f"write_stream={self._stream}")]
            self._responses = self._client.append_rows(iter(self._requests.get, None), metadata=routing, retry=None)
        response = next(self._responses, None)
        if response is None:
            raise exceptions.ServiceUnavailable("the connection was closed")
        return response

    def close(self) -> None:
        """Ends the requests."""
        self._requests.put(None)
        if self._responses is not None:
            self._responses.cancel()


def parts(batch: pa.RecordBatch, max_bytes: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(first row, some rows) that are small enough to be sent, or one row."""
    pending = [(0, batch)]
    while pending:
        start, part = pending.pop()
        if part.nbytes <= max_bytes or len(part) <= 1:
            yield start, part
        else:
            half = len(part) // 2
            pending += [(start + half, part.slice(half)), (start, part.slice(0, half))]


def _create(client: Any, table: TableName, schema: pa.Schema) -> str:
    """A new stream. What was just made is waited for: a table, or columns that were added to it."""
    from google.api_core import exceptions
    from google.cloud.bigquery_storage_v1 import types

    pending = types.WriteStream(type_=types.WriteStream.Type.PENDING)
    give_up_at, wait = time.monotonic() + SETTLING_S, FIRST_WAIT_S
    while True:
        try:
            stream = client.create_write_stream(parent=table.path, write_stream=pending)
            known = {field.name.lower() for field in stream.table_schema.fields}
            missing = [name for name in schema.names if name.lower() not in known]
            if not missing or not known:
                return str(stream.name)
            problem: Exception = RuntimeError(f"{table} lacks the columns {', '.join(missing)}")
        except exceptions.NotFound as error:
            problem = error
        if time.monotonic() > give_up_at:
            raise problem
        time.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT_S)


def commit(table: TableName, streams: list[str]) -> None:
    """The rows of finalized streams become the table's, all at once. Committed already is fine.

    Raises:
        RuntimeError: BigQuery does not commit them, and none is.
    """
    from google.cloud.bigquery_storage_v1 import types

    if not streams:
        return
    client = write_client()
    request = types.BatchCommitWriteStreamsRequest(parent=table.path, write_streams=sorted(streams))
    response = client.batch_commit_write_streams(request)
    errors = [error for error in response.stream_errors if not _is_committed(client, error)]
    if errors or (response.stream_errors and len(response.stream_errors) < len(streams)):
        shown = list(errors or response.stream_errors)[:5]
        reasons = "; ".join(f"{error.entity}: {error.error_message}" for error in shown)
        raise RuntimeError(f"BigQuery did not commit {len(streams)} streams of {table}: {reasons}")


def _is_committed(client: Any, error: Any) -> bool:
    from google.api_core import exceptions
    from google.cloud.bigquery_storage_v1 import types

    if error.code == types.StorageError.StorageErrorCode.STREAM_ALREADY_COMMITTED:
        return True
    try:
        return client.get_write_stream(name=error.entity).commit_time is not None
    except exceptions.GoogleAPICallError:  # it is none, or gone
        return False
