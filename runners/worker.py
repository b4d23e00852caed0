"""Starts one Python worker the way Beam's containers do, without their Go program: `classer-worker --id=... ...`.

It is the command of a PROCESS environment, and the `--container_executable` of a worker pool (EXTERNAL). Files that
a job stages are not fetched: what a worker needs is installed beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.runners.worker.channel_factory import GRPCChannelFactory
from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor
from google.protobuf import json_format
from grpc import intercept_channel

ANSWER_SECONDS = 60


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a worker until its runner lets it go."""
    parser = argparse.ArgumentParser(prog="classer-worker", description=__doc__)
    parser.add_argument("--id", required=True)
    for name in ("control", "logging", "provision", "artifact"):
        parser.add_argument(f"--{name}_endpoint", default="")
    given, _ = parser.parse_known_args(arguments)
    os.environ.update(environment(given))
    sdk_worker_main.main([])


def environment(given: argparse.Namespace) -> dict[str, str]:
    """Return the environment that Beam's own worker program expects."""
    info = provision_info(given.id, given.provision_endpoint) if given.provision_endpoint else None
    control = given.control_endpoint or (info.control_endpoint.url if info else "")
    logging = given.logging_endpoint or (info.logging_endpoint.url if info else "")
    variables = {"WORKER_ID": given.id, "CONTROL_API_SERVICE_DESCRIPTOR": f'url: "{control}"'}
    if logging:
        variables["LOGGING_API_SERVICE_DESCRIPTOR"] = f'url: "{logging}"'
    if info is not None:
        variables["PIPELINE_OPTIONS"] = json.dumps(json_format.MessageToDict(info.pipeline_options))
        variables["RUNNER_CAPABILITIES"] = " ".join(info.runner_capabilities)
    return variables


def provision_info(worker_id: str, endpoint: str) -> Any:
    """Return what the runner tells this worker: the pipeline's options, mostly."""
    with GRPCChannelFactory.insecure_channel(endpoint) as channel:
        known = intercept_channel(channel, WorkerIdInterceptor(worker_id))
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(known)
        return service.GetProvisionInfo(
            beam_provision_api_pb2.GetProvisionInfoRequest(), timeout=ANSWER_SECONDS, wait_for_ready=True
        ).info


if __name__ == "__main__":
    main(sys.argv[1:])
