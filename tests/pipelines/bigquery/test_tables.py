"""Tables in, tables out: a whole job on a BigQuery emulator."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.pipelines.bigquery.warehouse import LABELS, Warehouse, column, string

pytestmark = pytest.mark.integration


def tickets(count: int) -> pa.Table:
    return pa.table(
        {
            "ticket": [f"t{number:05}" for number in range(count)],
            "body": [f"{LABELS[number % 3]} question {number}" for number in range(count)],
            "amount": pa.array(range(count), pa.int64()),
            "secret": ["never read"] * count,
        }
    )


def create_tickets(warehouse: Warehouse, count: int) -> dict[str, Any]:
    fields = [string("ticket", description="Number of the ticket."), string("body")]
    warehouse.create("tickets", *fields, column("amount", "INT64"), string("secret"))
    warehouse.fill("tickets", tickets(count))
    return {"table": warehouse.name("tickets"), "columns": {"id": "ticket", "text": "body"}}


def test_a_table_becomes_a_table(tmp_path: Path, warehouse: Warehouse) -> None:
    source = create_tickets(warehouse, 3_000)
    summary = warehouse.run(tmp_path, warehouse.job(tmp_path, source, {}, passthrough=["amount", "ticket"]))
    assert (summary.records, summary.results, summary.failures) == (3_000, 3_000, {})
    rows = warehouse.rows("results")
    assert [row["id"] for row in rows] == [f"t{number:05}" for number in range(3_000)]
    assert all(row["label"] == LABELS[row["amount"] % 3] for row in rows)
    assert "secret" not in rows[0]
    assert all(datetime.now(UTC) - row["classified_at"] < timedelta(minutes=5) for row in rows)
    table = warehouse.client.get_table(warehouse.name("results"))
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("DAY", "classified_at")
    assert table.clustering_fields == ["label"]
    assert all(field.description for field in table.schema)
    described = {field.name: field.description for field in table.schema}
    assert described["ticket"] == "Number of the ticket."
    types = {field.name: (field.field_type, field.mode) for field in table.schema}
    assert types["id"] == ("STRING", "REQUIRED")
    assert types["labels"] == ("RECORD", "REPEATED")
    assert types["classified_at"] == ("TIMESTAMP", "REQUIRED")
    assert warehouse.rows("results_failures") == []
