"""What the emulator does not say: BigQuery names the rows that it refuses, and is out of order now and then."""

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.cloud.bigquery_storage_v1 import types
from google.rpc import code_pb2

from pipelines.bigquery import append, clients
from pipelines.bigquery.append import AppendStream
from pipelines.bigquery.names import TableName
from pipelines.bigquery.write import AppendRows, Target
from pipelines.chunks import output_schema
from pipelines.outputs.bigquery import BigQueryOutput

SCHEMA = pa.schema([("id", pa.string())])
TABLE = TableName("p", "d", "t")
SERVICE = "/google.cloud.bigquery.storage.v1.BigQueryWrite/"


class Refusing(grpc.GenericRpcHandler):
    """The part of BigQuery's Write API that a stream needs: it refuses rows that start with `bad`, as documented.

    A request with bad rows is refused whole. `down` requests are answered by a broken connection, after (`lost`) or
    before the rows were taken; `unknown` times the table is not there yet.
    """

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.requests = self.down = self.lost = self.unknown = 0

    def service(self, details: Any) -> Any:
        """The handler of a method."""
        method = details.method.removeprefix(SERVICE)
        if method == "AppendRows":
            request, answer = types.AppendRowsRequest, types.AppendRowsResponse
            return grpc.stream_stream_rpc_method_handler(self._append, request.deserialize, answer.serialize)
        if method == "CreateWriteStream":
            request, answer = types.CreateWriteStreamRequest, types.WriteStream
            return grpc.unary_unary_rpc_method_handler(self._create, request.deserialize, answer.serialize)
        request, answer = types.FinalizeWriteStreamRequest, types.FinalizeWriteStreamResponse
        return grpc.unary_unary_rpc_method_handler(self._finalize, request.deserialize, answer.serialize)

    def _create(self, request: Any, context: Any) -> Any:
        self.unknown -= 1
        if self.unknown >= 0:
            context.abort(grpc.StatusCode.NOT_FOUND, "Requested entity was not found")
        return types.WriteStream(name=f"{request.parent}/streams/s", type_=types.WriteStream.Type.PENDING)

    def _append(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        schema = None
        for request in requests:
            self.requests += 1
            if data := request.arrow_rows.writer_schema.serialized_schema:
                schema = pa.ipc.read_schema(pa.py_buffer(data))
            batch = pa.ipc.read_record_batch(pa.py_buffer(request.arrow_rows.rows.serialized_record_batch), schema)
            if self.down:
                self.down -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "down")
            yield self._taken(batch.column(0).to_pylist(), request.offset)
            if self.lost:
                self.lost -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "lost")

    def _taken(self, rows: list[str], offset: int) -> Any:
        bad = [index for index, row in enumerate(rows) if row.startswith("bad")]
        if bad:
            errors = [types.RowError(index=index, code=1, message=f"no {rows[index]}") for index in bad]
            error = {"code": code_pb2.INVALID_ARGUMENT, "message": "Errors found while processing rows"}
            return types.AppendRowsResponse(error=error, row_errors=errors)
        if offset != len(self.rows):
            code = code_pb2.ALREADY_EXISTS if offset < len(self.rows) else code_pb2.OUT_OF_RANGE
            return types.AppendRowsResponse(error={"code": code, "message": "offset"})
        self.rows += rows
        return types.AppendRowsResponse(append_result={"offset": offset})

    def _finalize(self, request: Any, context: Any) -> Any:
        return types.FinalizeWriteStreamResponse(row_count=len(self.rows))


@pytest.fixture
def bigquery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Refusing]:
    server, handler = grpc.server(futures.ThreadPoolExecutor(4)), Refusing()
    server.add_generic_rpc_handlers([handler])
    monkeypatch.setenv(clients.STORAGE_EMULATOR, f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    clients.write_client.cache_clear()
    server.start()
    yield handler
    server.stop(None).wait()
    clients.write_client.cache_clear()


def batch(*ids: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"id": list(ids)}, schema=SCHEMA)


def test_refused_rows_are_named_and_all_others_written(bigquery: Refusing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append, "REQUEST_BYTES", 60)  # several requests
    stream = AppendStream(TABLE, SCHEMA)
    ids = [f"bad{n}" if n % 3 == 0 else f"good{n}" for n in range(20)]
    refused = stream.append(batch(*ids))
    assert [(item.row, item.column, item.reason) for item in refused] == [
        (n, None, f"no bad{n}") for n in range(0, 20, 3)
    ]
    assert bigquery.requests > 4
    assert stream.append(batch("bad")) != []
    assert stream.append(batch("last")) == []
    assert bigquery.rows == [*(id_ for id_ in ids if id_.startswith("good")), "last"]
    assert stream.finalize() == 14


def test_a_connection_that_breaks_is_made_again(bigquery: Refusing) -> None:
    stream = AppendStream(TABLE, SCHEMA)
    bigquery.down = 2
    assert stream.append(batch("a", "b")) == []
    bigquery.lost = 1
    assert stream.append(batch("c")) == []
    assert stream.append(batch("d")) == []
    assert bigquery.rows == ["a", "b", "c", "d"]
    assert stream.finalize() == 4


def test_a_table_that_was_just_made_is_waited_for(bigquery: Refusing) -> None:
    bigquery.unknown = 2
    assert AppendStream(TABLE, SCHEMA).name == f"{TABLE.path}/streams/s"


def test_other_errors_are_not_tried_again(bigquery: Refusing) -> None:
    stream = AppendStream(TABLE, SCHEMA)
    bigquery.rows = ["somebody else's"]
    with pytest.raises(RuntimeError, match="did not take 1 rows"):
        stream.append(batch("a"))
    assert bigquery.requests == 1


def test_refused_rows_are_not_taken_for_written(bigquery: Refusing) -> None:
    """A bundle that fails after its commit comes again: its refused rows have to become failures then, too."""
    output = BigQueryOutput(format="bigquery", table="p.d.t")
    target = Target(output, output_schema(pa.schema([])), "run")
    rows = pa.RecordBatch.from_pylist([{"id": id_} for id_ in ("bad1", "good", "bad2")], schema=target.row_schema)
    append_rows = AppendRows(target)
    append_rows._recent = recent = target.recent()  # of a table that has no rows
    append_rows.start_bundle()
    [failures] = append_rows.process(rows)
    [stream] = append_rows.finish_bundle()
    recent.committed(stream.value)
    assert failures.value.column("id").to_pylist() == ["bad1", "bad2"]
    assert recent.new(rows).column("id").to_pylist() == ["bad1", "bad2"]
