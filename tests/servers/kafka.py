"""An Apache Kafka broker: KRaft mode, one process."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Sequence
from typing import Any

from runners.flink.cluster import free_port
from tests.servers.jars import fetched_jars
from tests.servers.process import ServerProcess, java

ANSWER_SECONDS = 30
CONFIGURATION = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={folder}/data
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=2
offsets.topic.num.partitions=3
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""


class KafkaBroker(ServerProcess):
    """A broker without topics; messages are up to 1 MB, as by default. `bootstrap_servers` names it."""

    name = "kafka"

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.bootstrap_servers = self.address
        self._controller = free_port()

    def command(self) -> Sequence[str]:
        """Formats its storage first, once."""
        run = [java(), "-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        run += ["-cp", f"{fetched_jars('kafka-broker')}/*"]
        file = self.folder / "server.properties"
        if not file.exists():
            file.write_text(CONFIGURATION.format(port=self.port, controller=self._controller, folder=self.folder))
            cluster = ["--cluster-id", uuid.uuid4().hex[:22], "--config", str(file)]
            subprocess.run([*run, "kafka.tools.StorageTool", "format", *cluster], check=True, capture_output=True)
        return [*run, "kafka.Kafka", str(file)]

    def create_topic(self, name: str, partitions: int = 1, **settings: str) -> str:
        """A new topic; its name."""
        from confluent_kafka.admin import NewTopic

        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
        admin = self._admin()  # requests end with it
        admin.create_topics([topic])[name].result(ANSWER_SECONDS)
        return name

    def add_partitions(self, topic: str, total: int) -> None:
        """More partitions for a topic."""
        from confluent_kafka.admin import NewPartitions

        admin = self._admin()
        admin.create_partitions([NewPartitions(topic, total)])[topic].result(ANSWER_SECONDS)

    def _admin(self) -> Any:
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self.bootstrap_servers})
