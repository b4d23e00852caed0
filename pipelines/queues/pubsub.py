"""Pub/Sub: a streaming pull, which keeps the leases of what is out and stops when enough is."""

from __future__ import annotations

import logging
import queue
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from pipelines.queues import Message, Queue
from pipelines.queues.event_time import MAX_FUTURE_S, event_time
from pipelines.queues.pubsub_client import ANSWER_S, client, job_error

log = logging.getLogger(__name__)

CLOSE_S = 10.0
# What is out, waiting or in work: the server sends no more than that. Rows that wait for their file are in work.
OUT_MESSAGES, OUT_BYTES = 20_000, 384 << 20
# After a worker is killed its messages come again within this time.
LEASE_S = 15
RECEIPTS_TOGETHER = 1_000


@dataclass(frozen=True)
class PubSubQueueSettings:
    """A subscription, `projects/P/subscriptions/S`. `timestamp_attribute` is the one that holds the event time.

    With PUBSUB_EMULATOR_HOST in the environment it is one of an emulator.
    """

    subscription: str
    timestamp_attribute: str | None = None
    max_future_s: float = MAX_FUTURE_S
    bundle_records: int = OUT_MESSAGES // 2  # the other half is on its way or waits

    def check(self) -> None:
        """Makes sure that it is there, as far as this user may know.

        Raises:
            JobError: it is not, or there are no credentials, or no answer.
        """
        with client("SubscriberClient") as found:
            from google.api_core import exceptions

            try:
                found.get_subscription(subscription=self.subscription, retry=None, timeout=ANSWER_S)
            except exceptions.PermissionDenied:
                log.debug("%s: may not be looked at; whether it may be read is seen then", self.subscription)
            except Exception as error:
                raise job_error("source.subscription", self.subscription, error) from error

    def open(self, position: None) -> Queue:
        """See `QueueSettings.open`."""
        return PubSubQueue(self)

    def split(self, parts: int) -> Sequence[PubSubQueueSettings]:
        """One connection takes what there is; more of them share a subscription by themselves."""
        return [self]


class PubSubQueue:
    """One open streaming pull. See `Queue`; receipts are Pub/Sub's own."""

    def __init__(self, settings: PubSubQueueSettings) -> None:
        from google.cloud.pubsub_v1.subscriber.scheduler import ThreadScheduler
        from google.cloud.pubsub_v1.types import FlowControl

        self._settings = settings
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._out: dict[str, Any] = {}
        self._client = client("SubscriberClient")
        self._pull = self._client.subscribe(
            settings.subscription,
            callback=self._waiting.put,
            flow_control=FlowControl(
                max_messages=OUT_MESSAGES,
                max_bytes=OUT_BYTES,
                min_duration_per_lease_extension=LEASE_S,
                max_duration_per_lease_extension=LEASE_S,
            ),
            scheduler=ThreadScheduler(ThreadPoolExecutor(1, "pubsub")),  # one: messages stay in their order
            await_callbacks_on_shutdown=True,
        )

    def poll(self, timeout_s: float, limit: int) -> list[Message]:
        """See `Queue.poll`. Leases are kept by threads of the client."""
        self._raise_if_ended()
        found: list[Message] = []
        with suppress(queue.Empty):
            if limit > 0:
                found.append(self._message(self._waiting.get(timeout=timeout_s)))
            while len(found) < limit:
                found.append(self._message(self._waiting.get_nowait()))
        return found

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """See `Queue.acknowledge`."""
        for receipt in receipts:
            if (message := self._out.pop(receipt, None)) is not None:
                message.ack()

    def give_back(self, receipts: Sequence[str]) -> None:
        """See `Queue.give_back`."""
        for receipt in receipts:
            if (message := self._out.pop(receipt, None)) is not None:
                message.nack()

    def position(self, emitted: Collection[str]) -> None:
        """See `Queue.position`: the server knows."""

    def close(self) -> None:
        """See `Queue.close`. Nothing has to wait for the end of its lease."""
        self._pull.cancel()
        with suppress(Exception):  # why it has ended is no longer of interest
            self._pull.result(CLOSE_S)
        with suppress(queue.Empty):
            while message := self._waiting.get_nowait():
                self._out[message.ack_id] = message
        left, self._out = list(self._out), {}
        try:
            for start in range(0, len(left), RECEIPTS_TOGETHER):
                ids = left[start : start + RECEIPTS_TOGETHER]
                request = {"subscription": self._settings.subscription, "ack_ids": ids, "ack_deadline_seconds": 0}
                self._client.modify_ack_deadline(request=request, timeout=ANSWER_S)
        except Exception as error:
            log.warning("%s: %d messages come again later: %s", self._settings.subscription, len(left), error)
        self._client.close()

    def _message(self, message: Any) -> Message:
        self._out[message.ack_id] = message
        settings = self._settings
        return message_of(message, settings.timestamp_attribute, message.ack_id, settings.max_future_s)

    def _raise_if_ended(self) -> None:
        """Raise an error that lasts; the client itself retries those that may pass."""
        if self._pull.done():
            error = self._pull.exception() or RuntimeError("the streaming pull has ended")
            raise job_error("source.subscription", self._settings.subscription, error) from error


def message_of(
    found: Any, timestamp_attribute: str | None, receipt: str | None = None, max_future_s: float = MAX_FUTURE_S
) -> Message:
    """Return a message of Google's client, or one of Beam's ReadFromPubSub, as one of ours."""
    attributes = dict(found.attributes or {})
    published_at = found.publish_time.astimezone(UTC)
    return Message(
        id=found.message_id,
        data=found.data,
        published_at=event_time(attributes, timestamp_attribute, published_at, max_future_s),
        receipt=receipt,
        key=found.ordering_key or None,
        attributes=attributes,
    )
