"""How to reach a Kafka cluster, and what its errors mean for a job."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from classer_core.environment import from_environment, is_reference
from classer_core.errors import JobError, Problem

log = logging.getLogger(__name__)

ANSWER_S = 10.0
# What a job says elsewhere, or what would lose messages.
NOT_OPTIONS = frozenset(
    {"bootstrap.servers", "group.id", "group.instance.id", "enable.auto.commit", "enable.auto.offset.store"}
)


@dataclass(frozen=True)
class KafkaCluster:
    """Where the servers are. `options` are librdkafka's. Values `env:NAME` are read where a client is made."""

    bootstrap_servers: str
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict, repr=False)

    def client(self, kind: str, defaults: Mapping[str, Any], own: Mapping[str, Any]) -> Any:
        """A client of confluent_kafka (`Consumer`, `Producer`); its log lines are Python's.

        Args:
            kind: the name of its class.
            defaults: settings that the options of the job may change.
            own: settings that they may not.

        Raises:
            JobError: an option is wrong, or the library is not installed.
        """
        library = kafka_library()
        options = self._options()
        servers = from_environment(self.bootstrap_servers, "bootstrap_servers")
        settings = {**defaults, **options, "bootstrap.servers": servers, **own}
        try:
            return getattr(library, kind)(settings, logger=log)
        except library.KafkaException as error:
            message = str(error.args[0].str()).rstrip(".")
            for name, value in options.items():
                if is_reference(self.options[name]) and value:
                    message = message.replace(value, "…")
            raise JobError([Problem("options", "", message, "Correct the options.")]) from None

    def partitions(self, client: Any, topic: str) -> list[int]:
        """The numbers of a topic's partitions.

        Raises:
            JobError: there is no such topic, no permission, or no answer.
        """
        try:
            found = client.list_topics(topic, timeout=ANSWER_S).topics[topic]
        except kafka_library().KafkaException as error:
            raise JobError([self.problem(topic, error.args[0])]) from error
        if found.error is not None:
            raise JobError([self.problem(topic, found.error)])
        return sorted(found.partitions)

    def problem(self, topic: str, error: Any) -> Problem:
        """Return the problem that an error of a topic means."""
        code = kafka_library().KafkaError
        if error.code() in (code.UNKNOWN_TOPIC_OR_PART, code._UNKNOWN_TOPIC):
            return Problem(
                "topic", topic, f"is not a topic of {self.bootstrap_servers}", "Create it, or correct the name."
            )
        if error.code() == code.TOPIC_EXCEPTION:
            return Problem("topic", topic, "can't be the name of a topic", "Correct the name.")
        if error.code() in (code.TOPIC_AUTHORIZATION_FAILED, code.GROUP_AUTHORIZATION_FAILED):
            return Problem("topic", topic, f"is not permitted: {error.str()}", "Ask for permission.")
        if error.code() in (code.UNKNOWN_MEMBER_ID, code.ILLEGAL_GENERATION):
            message = "the group has members that share the topic among themselves"
            return Problem("group", topic, message, "Name a group that is this job's alone.")
        remedy = "Start the broker, or correct bootstrap_servers and options."
        return Problem("bootstrap_servers", self.bootstrap_servers, f"no Kafka answers: {error.str()}", remedy)

    def raise_if_final(self, topic: str, error: Any) -> None:
        """Trouble that may pass is logged.

        Raises:
            JobError: it does not pass.
        """
        problem = self.problem(topic, error)
        if problem.place != "bootstrap_servers":
            raise JobError([problem])
        log.warning("%s: %s", topic, error.str())

    def _options(self) -> dict[str, str]:
        problems, found = [], {}
        for name, given in self.options.items():
            value = str(given).lower() if isinstance(given, bool) else str(given)
            if name in NOT_OPTIONS:
                problems.append(Problem(f"options.{name}", value, "is what the job decides", "Leave it out."))
            else:
                try:
                    found[name] = from_environment(value, f"options.{name}")
                except JobError as error:
                    problems += error.problems
        if problems:
            raise JobError(problems)
        return found


def kafka_library() -> Any:
    """The client library.

    Raises:
        JobError: it is not installed.
    """
    try:
        import confluent_kafka
    except ImportError as error:
        remedy = "Install it: pip install 'classer-pipelines[kafka]'."
        raise JobError([Problem("format", "kafka", "needs the package confluent-kafka", remedy)]) from error
    return confluent_kafka
