"""Beam's own connectors of Google Cloud, pointed to emulators: BigQuery's know no environment variable for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import google.auth
import grpc
from apache_beam.internal.gcp import auth
from apache_beam.io.gcp import bigquery as beam_bigquery
from apache_beam.io.gcp.internal.clients.bigquery import BigqueryV2
from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from tests.bigquery_server import PROJECT, BigQueryServer


@contextmanager
def no_credentials() -> Iterator[None]:
    """Beam needs none; without any it would try to get them for 20 s."""
    anonymous = auth._ApitoolsCredentialsAdapter(AnonymousCredentials())
    with mock.patch.object(auth, "get_service_credentials", lambda _: anonymous):
        yield


@contextmanager
def beams_connectors(server: BigQueryServer) -> Iterator[None]:
    """Beam's connectors talk to this server, in this process."""
    host = server.variables["BIGQUERY_STORAGE_EMULATOR_HOST"]
    rest = server.variables["BIGQUERY_EMULATOR_HOST"]

    def client(*_: Any, **__: Any) -> Any:
        return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=grpc.insecure_channel(host)))

    with (
        no_credentials(),
        mock.patch.object(google.auth, "default", lambda *_, **__: (AnonymousCredentials(), PROJECT)),
        mock.patch.object(BigqueryV2, "BASE_URL", f"{rest}/bigquery/v2/"),
        mock.patch.object(beam_bigquery.bq_storage, "BigQueryReadClient", client),
    ):
        yield
