"""Clients of Pub/Sub, and what its errors mean for a job."""

from __future__ import annotations

import os
from typing import Any

from classer_core.errors import JobError, Problem

ANSWER_S = 10.0


def client(kind: str, **arguments: Any) -> Any:
    """A client of google.cloud.pubsub_v1: `SubscriberClient`, `PublisherClient`.

    Raises:
        JobError: the library is not installed, or there are no credentials.
    """
    try:
        import google.cloud.pubsub_v1 as pubsub_v1
        from google.auth.exceptions import DefaultCredentialsError
    except ImportError as error:
        remedy = "Install it: pip install 'classer-pipelines[gcp]'."
        raise JobError([Problem("format", "pubsub", "needs the package google-cloud-pubsub", remedy)]) from error
    if kind == "SubscriberClient" and (emulator := os.environ.get("PUBSUB_EMULATOR_HOST")):
        arguments["transport"] = _emulator_transport(pubsub_v1.SubscriberClient, emulator)
    try:
        return getattr(pubsub_v1, kind)(**arguments)
    except DefaultCredentialsError as error:
        remedy = "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS."
        raise JobError([Problem("format", "pubsub", "there are no credentials of Google Cloud", remedy)]) from error


def job_error(place: str, name: str, error: BaseException) -> BaseException:
    """Raise mistakes of a job as a JobError, and anything else as it is."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    kind = name.split("/")[-2].removesuffix("s") if "/" in name else "name"
    if isinstance(error, exceptions.NotFound):
        problem = Problem(place, name, f"there is no such {kind}", "Create it, or correct the name.")
    elif isinstance(error, exceptions.PermissionDenied | exceptions.Unauthenticated | GoogleAuthError):
        problem = Problem(place, name, f"is not permitted: {_first_line(error)}", "Ask for permission.")
    elif isinstance(error, exceptions.InvalidArgument | exceptions.FailedPrecondition):
        problem = Problem(place, name, f"can't be used: {_first_line(error)}", "Correct it.")
    elif isinstance(error, exceptions.ServiceUnavailable | exceptions.DeadlineExceeded | exceptions.RetryError):
        problem = Problem(place, name, f"no Pub/Sub answers: {_first_line(error)}", "Try again when it does.")
    else:
        return error
    return JobError([problem])


def _emulator_transport(client_class: Any, address: str) -> Any:
    """The client's own one for emulators takes no message of more than 4 MB, and waits for it for ever."""
    import grpc

    channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
    return client_class.get_transport_class("grpc")(host=address, channel=channel)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200].rstrip(".")
