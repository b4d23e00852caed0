"""Each row once: bundles and commits that are tried again, and runs that fail half-way."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.api_core.exceptions import BadRequest

from classer_core import Engine
from pipelines.bigquery.append import AppendStream, commit
from pipelines.bigquery.jobs import is_done, run_once
from pipelines.bigquery.names import TableName
from pipelines.bigquery.write import AppendRows, CheckRows, CommitTable, Target, load_files
from pipelines.chunks import output_schema
from pipelines.limits import Verdict
from pipelines.outputs.bigquery import BigQueryOutput
from pipelines.readers import Columns
from pipelines.writers.files import WriteTemporaryFiles
from runners.launch_checks import prepare_outputs
from runners.local import run_name
from tests.fakes import FakeModel
from tests.pipelines.bigquery.test_refused import PASSED, ROWS, result_batches
from tests.pipelines.bigquery.test_tables import staging_tables
from tests.pipelines.bigquery.warehouse import Warehouse, column, string

pytestmark = pytest.mark.integration
SCHEMA = pa.schema([("id", pa.string()), ("number", pa.int64())])

PUBLISH = Verdict(True)


def batch(first: int, count: int) -> pa.RecordBatch:
    numbers = range(first, first + count)
    return pa.RecordBatch.from_pydict({"id": [str(n) for n in numbers], "number": list(numbers)}, schema=SCHEMA)


def create(warehouse: Warehouse) -> TableName:
    warehouse.create("rows", string("id"), column("number", "INT64"))
    return TableName.parse(warehouse.name("rows"))


def numbers(warehouse: Warehouse) -> list[int]:
    return [row["number"] for row in warehouse.rows("rows", "number")]


def bundle(target: Target, *batches: pa.RecordBatch, fails: bool = False) -> list[str]:
    """What a runner does with one bundle; one that fails is given up after its rows were sent."""
    step = AppendRows(target)
    step.setup()
    step.start_bundle()
    refused = [item for rows in batches for item in step.process(rows)]
    assert refused == []
    return [] if fails else [item.value for item in step.finish_bundle()]


def test_a_bundle_that_is_tried_again_leaves_nothing_behind(warehouse: Warehouse) -> None:
    create(warehouse)
    target = Target(BigQueryOutput(format="bigquery", table=warehouse.name("rows")), SCHEMA, "run")
    assert bundle(target, batch(0, 10), batch(10, 5), fails=True) == []
    names = bundle(target, batch(0, 10), batch(10, 5)) + bundle(target, batch(15, 5)) + bundle(target)
    assert len(names) == 2
    assert numbers(warehouse) == []  # nothing is there before everything is
    for _ in range(2):  # the commit, too, may be tried again
        CommitTable(target, None).process(None, PUBLISH, names)
        assert numbers(warehouse) == list(range(20))


def test_a_request_whose_answer_was_lost_is_sent_again(warehouse: Warehouse) -> None:
    table = create(warehouse)
    stream = AppendStream(table, SCHEMA)
    stream.append(batch(0, 10))
    connection, exchange = stream._connection, stream._connection.exchange

    def loses_the_answer(*args: Any) -> Any:
        exchange(*args)
        connection.exchange = exchange
        from google.api_core.exceptions import ServiceUnavailable

        error = ServiceUnavailable("connection reset")
        import grpc

        error.grpc_status_code = grpc.StatusCode.UNAVAILABLE
        raise error

    connection.exchange = loses_the_answer
    stream.append(batch(10, 10))
    stream.append(batch(20, 10))
    assert stream.finalize() == 30
    commit(table, [stream.name])
    assert numbers(warehouse) == list(range(30))


def test_a_stream_that_does_not_exist_is_an_error(warehouse: Warehouse) -> None:
    table = create(warehouse)
    stream = AppendStream(table, SCHEMA)
    stream.append(batch(0, 3))
    stream.finalize()
    with pytest.raises(RuntimeError, match="did not commit 2 streams"):
        commit(table, [stream.name, f"{table.path}/streams/unknown"])


@pytest.mark.parametrize("method", ["storage", "load"])
@pytest.mark.parametrize("write", ["append", "replace", "merge"])
def test_a_commit_may_be_tried_again_wherever_it_was(
    tmp_path: Path, warehouse: Warehouse, write: str, method: str
) -> None:
    """The worker is lost after the rows are in the staging table, and after everything was done.

    The runner has the rows written again each time, as one does that has lost them together with the worker: there are
    other streams and files then.
    """
    load = {"method": method, "temporary": f"{warehouse.bucket}/temporary"} if method == "load" else {}
    job = warehouse.job(tmp_path, {"table": warehouse.name("tickets")}, {"write": write, **load})
    run = run_name()
    prepare_outputs(job, Columns({"id": "id", "text": "text"}, PASSED), run)
    target = Target(job.output, output_schema(PASSED), run)
    check = CheckRows(target)
    check.setup()
    batches = [rows for batch in result_batches() for rows in check.process(batch)]
    assert sum(len(rows) for rows in batches) == ROWS

    def write_rows() -> list[str]:
        if method == "storage":
            return bundle(target, *batches)
        writer = WriteTemporaryFiles(target.files, "parquet")
        writer.start_bundle()
        assert [item for rows in batches for item in writer.process(rows)] == []
        return [item.value for item in writer.finish_bundle()]

    written = write_rows()
    late = AppendRows(target)  # it was at work when the others were done
    if method == "load":
        load_files(target, written)
    else:
        late.setup()
        late.start_bundle()
        assert [item for rows in batches for item in late.process(rows)] == []
        commit(target.staged, target.recorded().of(written))
    for again in (written, write_rows(), [item.value for item in late.finish_bundle()] if method == "storage" else []):
        CommitTable(target, None).process(None, PUBLISH, again)
        assert [row["id"] for row in warehouse.rows("results")] == [f"{number:04}" for number in range(ROWS)]
    check.setup()  # on a worker that is new, when the staging table is gone
    CommitTable(target, None).process(None, PUBLISH, write_rows())
    assert [row["id"] for row in warehouse.rows("results")] == [f"{number:04}" for number in range(ROWS)]
    assert target.staged.table not in staging_tables(warehouse)


def test_a_second_run_appends_again(tmp_path: Path, warehouse: Warehouse) -> None:
    """What is recorded is one run's."""
    create(warehouse)
    for run in ("first", "second"):
        target = Target(BigQueryOutput(format="bigquery", table=warehouse.name("rows")), SCHEMA, run)
        CommitTable(target, None).process(None, PUBLISH, bundle(target, batch(0, 3)))
    assert numbers(warehouse) == [0, 0, 1, 1, 2, 2]


def test_a_run_without_rows_stays_without_rows(warehouse: Warehouse) -> None:
    create(warehouse)
    target = Target(BigQueryOutput(format="bigquery", table=warehouse.name("rows")), SCHEMA, "run")
    CommitTable(target, None).process(None, PUBLISH, [])
    CommitTable(target, None).process(None, PUBLISH, bundle(target, batch(0, 3)))
    assert numbers(warehouse) == []


class FailingModel(FakeModel):
    """Breaks down, not for one record alone."""

    def score(self, texts: Any, classifiers: Any) -> Any:
        if any("breakdown" in part for parts in texts for part in parts):
            raise MemoryError("out of memory")
        return super().score(texts, classifiers)


def load_failing() -> Engine:
    return Engine(FailingModel())


def test_a_run_that_fails_half_way_leaves_the_table_as_it_was(tmp_path: Path, warehouse: Warehouse) -> None:
    warehouse.create("tickets", string("id"), string("text"))
    rows = [{"id": f"{n:05}", "text": f"sales {n}" if n < 9_000 else "breakdown"} for n in range(9_001)]
    warehouse.fill("tickets", pa.Table.from_pylist(rows))
    job = warehouse.job(tmp_path, {"table": warehouse.name("tickets")}, {}, cache="none")
    with pytest.raises(Exception, match="out of memory"):
        warehouse.run(tmp_path, job, load_failing)
    assert warehouse.rows("results") == []
    warehouse.query("DELETE FROM `$.tickets` WHERE text = 'breakdown'")
    warehouse.run(tmp_path, job, load_failing)
    assert len(warehouse.rows("results")) == 9_000


def test_a_job_of_one_name_runs_once(warehouse: Warehouse) -> None:
    create(warehouse)
    sql, started = f"INSERT INTO `{warehouse.name('rows')}` (id, number) VALUES ('1', 1)", []

    def start(job_id: str) -> Any:
        started.append(job_id)
        return warehouse.client.query(sql, job_id=job_id, job_retry=None)

    for _ in range(2):
        assert run_once(warehouse.client, "insert_one", None, start).state == "DONE"
        assert is_done(warehouse.client, "insert_one", None)
    assert (started, numbers(warehouse)) == (["insert_one_1"], [1])
    assert not is_done(warehouse.client, "insert_two", None)
    sql = "SELECT nothing"
    with pytest.raises(BadRequest, match="nothing"):
        run_once(warehouse.client, "wrong", None, start)
    assert not is_done(warehouse.client, "wrong", None)
