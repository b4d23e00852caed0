"""A BigQuery emulator for all tests of this folder, with a dataset for each of them."""

from collections.abc import Iterator
from itertools import count

import pytest

from pipelines.bigquery import clients
from tests.bigquery_server import PROJECT, BigQueryServer
from tests.pipelines.bigquery.warehouse import Warehouse

numbers = count()


@pytest.fixture(scope="session")
def server() -> Iterator[BigQueryServer]:
    with BigQueryServer() as server:
        yield server


@pytest.fixture
def warehouse(server: BigQueryServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    from tests.beam_bigquery import no_credentials  # needs the extra gcp, which only integration tests have

    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    for make in (clients.rest_client, clients.read_client, clients.write_client):
        make.cache_clear()
    client = server.client()
    dataset = f"d{next(numbers)}"
    client.create_dataset(dataset)
    with no_credentials():
        yield Warehouse(client, f"{PROJECT}.{dataset}", server.bucket)
