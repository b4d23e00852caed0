"""Google's Pub/Sub emulator, a program of Google's (Java): beside `gcloud`, or where PUBSUB_EMULATOR_JAR says."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.servers.jars import fetched_jars
from tests.servers.process import START_SECONDS, ServerProcess, java

PROJECT = "classer-test"


class PubSubEmulator(ServerProcess):
    """An emulator without topics. Clients find it by PUBSUB_EMULATOR_HOST=`address`."""

    name = "pubsub"

    def command(self) -> Sequence[str]:
        """One Java process.

        The emulator 0.8.20 brings a part of gRPC that does not fit the rest of it: with that it never notices that a
        client is gone, and goes on sending to it. The part that fits comes first.
        """
        path = f"{fetched_jars('pubsub-emulator')}/*:{emulator_jar()}"
        run = [java(), "-Xmx768m", "-XX:TieredStopAtLevel=1", "-cp", path, "com.google.cloud.pubsub.testing.v1.Main"]
        return [*run, "--host=127.0.0.1", f"--port={self.port}"]

    def start(self) -> None:
        """It listens a little before it answers."""
        super().start()
        end = time.monotonic() + START_SECONDS
        while "Server started" not in self.log.read_text(errors="replace"):
            if time.monotonic() > end:
                raise RuntimeError(f"The {self.name} did not answer:\n{self.log.read_text(errors='replace')[-3_000:]}")
            time.sleep(0.05)

    def create_topic(self, name: str) -> str:
        """A new topic; its whole name."""
        topic = f"projects/{PROJECT}/topics/{name}"
        self.publisher().create_topic(name=topic)
        return topic

    def create_subscription(self, name: str, topic: str, ack_deadline_seconds: int = 10, **settings: Any) -> str:
        """A new subscription to a topic; its whole name."""
        from google.cloud import pubsub_v1

        request = {"name": f"projects/{PROJECT}/subscriptions/{name}", "topic": topic}
        request |= {"ack_deadline_seconds": ack_deadline_seconds} | settings
        self._is_named()
        with pubsub_v1.SubscriberClient() as subscriber:
            return str(subscriber.create_subscription(request=request).name)

    def publisher(self, **options: Any) -> Any:
        """A client that publishes."""
        from google.cloud import pubsub_v1

        self._is_named()
        return pubsub_v1.PublisherClient(**options)

    def _is_named(self) -> None:
        if os.environ.get("PUBSUB_EMULATOR_HOST") != self.address:
            raise RuntimeError("Set PUBSUB_EMULATOR_HOST to the emulator's address first.")


def emulator_jar() -> Path:
    """The emulator's program.

    Raises:
        FileNotFoundError: it is not installed.
    """
    if named := os.environ.get("PUBSUB_EMULATOR_JAR"):
        return Path(named)
    if gcloud := shutil.which("gcloud"):
        folder = Path(gcloud).resolve().parents[1] / "platform" / "pubsub-emulator" / "lib"
        for jar in sorted(folder.glob("cloud-pubsub-emulator-*-all.jar")):
            return jar
    remedy = "Install google-cloud-cli-pubsub-emulator, or set PUBSUB_EMULATOR_JAR."
    raise FileNotFoundError(f"Google's Pub/Sub emulator is not beside gcloud. {remedy}")
