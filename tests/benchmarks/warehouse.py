"""BigQuery, on an emulator on this machine: what its paths cost, and what a kill costs.

    python -m tests.benchmarks.warehouse [read | write | killed]

read    a table of 200,000 rows: Beam's connector, our records, Arrow alone
write   100,000 rows with an instant model: streams, a load job, a merge; Beam's load jobs
killed  100,000 rows enriched, killed with SIGKILL at three moments and run again, against an undisturbed run
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions
from google.cloud import bigquery
from rich.console import Console
from rich.table import Table

from pipelines.bigquery.read import open_streams, stream_batches
from pipelines.chunks import CHUNK_ROWS
from pipelines.job import Job, parse_job
from pipelines.read import ReadRecords
from runners.local import run_job
from tests.benchmarks import rows as instant
from tests.servers.beam_bigquery import beams_connectors, no_credentials
from tests.servers.bigquery import PROJECT, BigQueryServer

LABELS = ["billing", "technical", "sales"]
ROWS, READ_ROWS = 100_000, 200_000
# Calls of the model after which a run is killed; a call reads a chunk.
KILLED_AFTER = (1, 9, 5)
OF_THE_RUN = "latency_ms, cached, classified_at"
console = Console(width=110)


def fill(client: Any, count: int) -> None:
    """A table `tickets` of so many rows."""
    client.create_dataset("d", exists_ok=True)
    client.delete_table(f"{PROJECT}.d.tickets", not_found_ok=True)
    fields = [bigquery.SchemaField(name, "STRING") for name in ("id", "text")]
    client.create_table(bigquery.Table(f"{PROJECT}.d.tickets", schema=fields))
    texts = [f"{LABELS[n % 3]} question {n} about what was ordered last week" for n in range(count)]
    file = io.BytesIO()
    pq.write_table(pa.table({"id": [f"{n:07}" for n in range(count)], "text": texts}), file)
    file.seek(0)
    config = bigquery.LoadJobConfig(source_format="PARQUET")
    client.load_table_from_file(file, f"{PROJECT}.d.tickets", job_config=config).result()


def document(table: str, **output: Any) -> dict[str, Any]:
    """A job from `tickets` to a table."""
    return {
        "source": {"format": "bigquery", "table": f"{PROJECT}.d.tickets"},
        "output": {"format": "bigquery", "table": f"{PROJECT}.d.{table}", **output},
        "labels": LABELS,
    }


def parsed(document: dict[str, Any]) -> Job:
    """A job of this module."""
    return parse_job(document, Path(tempfile.gettempdir()) / "job.yaml")


def timed(work: Callable[[], Any]) -> float:
    """Seconds that something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def read(server: BigQueryServer) -> None:
    """Rows a second of three ways to read a table."""
    fill(server.client(), READ_ROWS)
    job = parsed(document("results"))
    columns = job.source.find_columns(job.selection)

    def beams() -> None:
        options = PipelineOptions([f"--project={PROJECT}", f"--temp_location={server.bucket}/t"])
        scratch = beam.io.gcp.internal.clients.bigquery.DatasetReference(projectId=PROJECT, datasetId="d")
        source = beam.io.ReadFromBigQuery(table=f"{PROJECT}:d.tickets", method="DIRECT_READ", temp_dataset=scratch)
        with beams_connectors(server), beam.Pipeline("FnApiRunner", options) as pipeline:
            _ = pipeline | source | beam.combiners.Count.Globally()

    def ours() -> None:
        with beam.Pipeline("FnApiRunner") as pipeline:
            _ = pipeline | ReadRecords(job.source, columns, job.requests) | beam.Map(len) | beam.CombineGlobally(sum)

    def alone() -> None:
        streams = open_streams(job.source, columns)
        assert sum(len(batch) for stream in streams for batch in stream_batches(stream)) == READ_ROWS

    table = Table("reading 200,000 rows", "rows/s", box=None)
    for name, work in (("Beam's DIRECT_READ, dicts", beams), ("our records, checked", ours), ("Arrow alone", alone)):
        table.add_row(name, f"{READ_ROWS / timed(work):,.0f}")
    console.print(table)


def write(server: BigQueryServer) -> None:
    """Rows a second of whole jobs, start-up included, with a model that takes no time."""
    client = server.client()
    fill(client, ROWS)
    load = {"method": "load", "temporary": f"{server.bucket}/t"}
    table = Table("100,000 rows from table to table, instant model", "rows/s", box=None)
    for name, output in (("streams", {}), ("load job", load), ("streams and MERGE", {"write": "merge"})):
        job = parsed({**document(f"results_{len(table.rows)}", **output), "cache": "none"})
        with no_credentials():
            seconds = timed(lambda job=job: run_job(job, Path(), load=instant.load))
        [row] = client.query(f"SELECT COUNT(*) AS n FROM `{job.output.table}`").result()
        if row.n != ROWS:
            raise SystemExit(f"{ROWS} rows went in, {row.n} are there")
        table.add_row(name, f"{ROWS / seconds:,.0f}")

    def beams() -> None:
        rows = [{"id": str(n), "text": "x" * 60, "confidence": 0.5} for n in range(1_000)]
        sink = beam.io.WriteToBigQuery(
            f"{PROJECT}:d.beams",
            schema="id:STRING,text:STRING,confidence:FLOAT64",
            method="FILE_LOADS",
            custom_gcs_temp_location=f"{server.bucket}/t",
        )
        options = PipelineOptions([f"--project={PROJECT}", f"--temp_location={server.bucket}/t"])
        with beams_connectors(server), beam.Pipeline("FnApiRunner", options) as pipeline:
            _ = pipeline | beam.Create(range(ROWS // 1_000)) | beam.FlatMap(lambda _: rows) | sink

    table.add_row("Beam's FILE_LOADS alone, 3 columns", f"{ROWS / timed(beams):,.0f}")
    console.print(table)


def killed(server: BigQueryServer) -> None:
    """What was read in all runs, and whether the tables are the same."""
    client = server.client()
    fill(client, ROWS)
    table = Table("100,000 rows enriched", "texts read", "rows in the table", box=None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spent = 0
        for number, calls in enumerate((*KILLED_AFTER, None)):
            log = folder / f"log-{number}"
            process = start(folder, "results", log, folder / "cache")
            if calls is not None:
                while not log.exists() or log.read_text().count("\n") < calls:
                    if process.poll() is not None:
                        raise SystemExit("it ended before it was killed")
                    time.sleep(0.02)
                process.send_signal(signal.SIGKILL)
            process.wait()
            spent += (read := sum(map(int, log.read_text().split())))
            what = "run to its end" if calls is None else f"killed at call {calls} of the model"
            table.add_row(what, f"{read:,}", f"{count(client, 'results'):,}")
        log = folder / "log-undisturbed"
        start(folder, "undisturbed", log, folder / "other").wait()
        needed = sum(map(int, log.read_text().split()))
        table.add_row("undisturbed", f"{needed:,}", f"{count(client, 'undisturbed'):,}")
    console.print(table)
    kept = f"SELECT * EXCEPT ({OF_THE_RUN}, labels) FROM `{PROJECT}.d.{{}}`"
    both = f"({kept.format('results')}) EXCEPT DISTINCT ({kept.format('undisturbed')})"
    [row] = client.query(f"SELECT COUNT(*) AS n FROM ({both})").result()
    more = f"{spent - needed:,} texts read twice, {(spent - needed) / len(KILLED_AFTER) / CHUNK_ROWS:.2f} chunks a kill"
    console.print(f"{row.n} rows differ; {more}")


def count(client: Any, table: str) -> int:
    """Rows of a table."""
    [row] = client.query(f"SELECT COUNT(*) AS n FROM `{PROJECT}.d.{table}`").result()
    return int(row.n)


def start(folder: Path, table: str, log: Path, cache: Path) -> Any:
    """The job in a process of its own."""
    job = json.dumps({**document(table, write="merge"), "only": "stale"})
    command = [sys.executable, "-m", "tests.pipelines.bigquery.killed", str(folder), job, str(log)]
    return subprocess.Popen(command, env={**os.environ, "CLASSER_CACHE_DIR": str(cache)}, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    with BigQueryServer() as server:
        os.environ.update(server.variables)
        for section in sys.argv[1:] or ["read", "write", "killed"]:
            {"read": read, "write": write, "killed": killed}[section](server)
