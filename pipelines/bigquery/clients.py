"""Clients of BigQuery's APIs, with the usual credentials; of an emulator, where the environment names one.

`BIGQUERY_EMULATOR_HOST` (a URL; Google's own client knows it) and `BIGQUERY_STORAGE_EMULATOR_HOST` (host:port of gRPC).
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from classer_core.errors import JobError, Problem

REST_EMULATOR, STORAGE_EMULATOR = "BIGQUERY_EMULATOR_HOST", "BIGQUERY_STORAGE_EMULATOR_HOST"
CREDENTIALS_REMEDY = (
    "Run `gcloud auth application-default login`, or name a key file in GOOGLE_APPLICATION_CREDENTIALS; "
    "on Google Cloud give the worker's service account access."
)


def require(place: str) -> None:
    """Looks for the libraries, and for credentials.

    Args:
        place: the key of the job that asks for BigQuery.

    Raises:
        JobError: the extra is not installed, or there are no credentials.
    """
    try:
        import google.auth
        import google.auth.exceptions
        import google.cloud.bigquery
        import google.cloud.bigquery_storage_v1
    except ImportError as error:
        message = f"needs Google Cloud's libraries: {error}"
        remedy = "Install them with `pip install 'classer-pipelines[gcp]'`."
        raise JobError([Problem(place, "bigquery", message, remedy)]) from error
    if os.environ.get(REST_EMULATOR):
        return
    try:
        google.auth.default()
    except (google.auth.exceptions.GoogleAuthError, OSError) as error:
        message = "finds no credentials of Google Cloud"
        raise JobError([Problem(place, "bigquery", message, CREDENTIALS_REMEDY)]) from error


@lru_cache(maxsize=8)
def rest_client(project: str) -> Any:
    """Tables and jobs. Jobs are paid by the environment's project, or else by this one."""
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    credentials: Any
    credentials, default = AnonymousCredentials(), os.environ.get("GOOGLE_CLOUD_PROJECT")
    if not os.environ.get(REST_EMULATOR):
        credentials, default = google.auth.default()
    if not (default or project):
        message, remedy = "finds no project that pays for the query", "Set GOOGLE_CLOUD_PROJECT."
        raise JobError([Problem("source.query", "", message, remedy)])
    return bigquery.Client(default or project, credentials)


@lru_cache(maxsize=1)
def read_client() -> Any:
    """The Storage Read API."""
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    if host := os.environ.get(STORAGE_EMULATOR):
        return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=_insecure(host)))
    return BigQueryReadClient()


@lru_cache(maxsize=1)
def write_client() -> Any:
    """The Storage Write API."""
    from google.cloud.bigquery_storage_v1 import BigQueryWriteClient
    from google.cloud.bigquery_storage_v1.services.big_query_write.transports import BigQueryWriteGrpcTransport

    if host := os.environ.get(STORAGE_EMULATOR):
        return BigQueryWriteClient(transport=BigQueryWriteGrpcTransport(channel=_insecure(host)))
    return BigQueryWriteClient()


def _insecure(host: str) -> Any:
    import grpc

    # Requests and answers may be 10 MB and more.
    sizes = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    return grpc.insecure_channel(host, options=sizes)
