"""Beam's Java expansion service, with KafkaIO and the Java worker that runs it."""

from __future__ import annotations

from collections.abc import Sequence

from tests.servers.jars import fetched_jars
from tests.servers.process import ServerProcess, java

KAFKA_IO = "sdks:java:io:expansion-service:shadowJar"


class ExpansionService(ServerProcess):
    """Puts Java's transforms into graphs, and runs them in its own process. `services` is what Beam looks it up in."""

    name = "expansion"

    def command(self) -> Sequence[str]:
        """One Java process."""
        run = [
            java(),
            "-Xmx512m",
            "--add-opens=java.base/java.util=ALL-UNNAMED",
            "-cp",
            f"{fetched_jars('kafka-io')}/*",
        ]
        main = "org.apache.beam.sdk.expansion.service.ExpansionService"
        return [*run, main, str(self.port), "--alsoStartLoopbackWorker"]

    @property
    def services(self) -> dict[str, str]:
        """For `JavaJarServer.beam_services`."""
        return {KAFKA_IO: f"localhost:{self.port}"}
