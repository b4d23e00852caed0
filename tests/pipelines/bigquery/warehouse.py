"""What tests do with a dataset: fill tables, look at tables, run jobs."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from google.cloud import bigquery

from classer_core import Engine
from pipelines.job import Job, parse_job
from runners.local import RunSummary, run_job
from tests.fakes import load as load_fake

LABELS = ["billing", "technical", "sales"]
# What differs between two runs that say the same.
OF_THE_RUN = {"latency_ms", "cached", "classified_at"}


@dataclass
class Warehouse:
    client: Any
    dataset: str
    bucket: str

    def name(self, table: str) -> str:
        return f"{self.dataset}.{table}"

    def create(self, table: str, *columns: Any) -> None:
        self.client.create_table(bigquery.Table(self.name(table), schema=list(columns)))

    def fill(self, table: str, rows: pa.Table) -> None:
        file = io.BytesIO()
        pq.write_table(rows, file)
        file.seek(0)
        config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_APPEND")
        self.client.load_table_from_file(file, self.name(table), job_config=config).result()

    def query(self, sql: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.client.query(sql.replace("$", self.dataset)).result()]

    def rows(self, table: str, order: str = "id") -> list[dict[str, Any]]:
        return self.query(f"SELECT * FROM `$.{table}` ORDER BY {order}")

    def lasting(self, table: str) -> list[dict[str, Any]]:
        """The rows without what differs from run to run."""
        return [{name: row[name] for name in row if name not in OF_THE_RUN} for row in self.rows(table)]

    def job(self, folder: Path, source: dict[str, Any], output: dict[str, Any], **more: Any) -> Job:
        document = {
            "source": {"format": "bigquery", **source},
            "output": {"format": "bigquery", "table": self.name("results"), **output},
            "labels": LABELS,
            **more,
        }
        return parse_job(document, folder / "job.yaml")

    def run(self, folder: Path, job: Job, load: Callable[[], Engine] = load_fake) -> RunSummary:
        return run_job(job, folder, load=load)


def string(name: str, mode: str = "NULLABLE", **more: Any) -> Any:
    return bigquery.SchemaField(name, "STRING", mode, **more)


def column(name: str, type_: str, mode: str = "NULLABLE", **more: Any) -> Any:
    return bigquery.SchemaField(name, type_, mode, **more)
