"""Kafka: the partitions of a topic are read side by side, and committed as far as all their messages are done.

Partitions are assigned, not subscribed to: the job says who reads what, its checkpoints hold positions, and nobody
waits for a group to settle. So one job of a group at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from classer_core.errors import JobError
from pipelines.queues import Message, Queue
from pipelines.queues.event_time import MAX_FUTURE_S
from pipelines.queues.kafka_cluster import ANSWER_S, KafkaCluster, kafka_library
from pipelines.queues.kafka_message import attributes_of, message_of, place_of
from pipelines.queues.offsets import PartitionOffsets, Reached

if TYPE_CHECKING:
    import confluent_kafka

log = logging.getLogger(__name__)

NEW_PARTITIONS_S = 10.0
SETTLING = frozenset({"NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS", "_WAIT_COORD"})
# What waits in memory for the reader: fetching stops above either.
WAITING_MESSAGES, WAITING_KIB = 10_000, 16 << 10
Receipt = tuple[int, int]  # partition, offset
Position = Mapping[int, Reached]


@dataclass(frozen=True)
class KafkaQueueSettings:
    """A topic, read in the name of a group. `timestamp_attribute` is the header that holds the event time.

    Times that are more than `max_future_s` ahead count as none.
    `part` of `parts`: the share of partitions that is read, so that shares stay the same when partitions are added.
    """

    cluster: KafkaCluster
    topic: str
    group: str
    timestamp_attribute: str | None = None
    max_future_s: float = MAX_FUTURE_S
    part: int = 0
    parts: int = 1
    bundle_records: int = 100_000

    def check(self) -> None:
        """Makes sure that it can be read.

        Raises:
            JobError: it can't.
        """
        self._all_partitions()

    def open(self, position: Position | None) -> Queue:
        """See `QueueSettings.open`. Without a position: from where the group is, or the beginning."""
        return KafkaQueue(self, position)

    def split(self, parts: int) -> Sequence[KafkaQueueSettings]:
        """Shares of the partitions."""
        parts = min(parts, len(self._all_partitions()))
        return [replace(self, part=part, parts=parts) for part in range(parts)]

    def consumer(self, on_commit: Callable[..., None] | None = None) -> confluent_kafka.Consumer:
        """A connection, without partitions yet."""
        defaults = {
            "auto.offset.reset": "earliest",
            "queued.min.messages": WAITING_MESSAGES,
            "queued.max.messages.kbytes": WAITING_KIB,
        }
        own = {"group.id": self.group, "enable.auto.commit": False, "enable.auto.offset.store": False}
        if on_commit is not None:
            own["on_commit"] = on_commit
        found: confluent_kafka.Consumer = self.cluster.client("Consumer", defaults, own)
        return found

    def _all_partitions(self) -> list[int]:
        consumer = self.consumer()
        try:
            return self.cluster.partitions(consumer, self.topic)
        finally:
            consumer.close()


class KafkaQueue:
    """One open share of a topic. See `Queue`; receipts are (partition, offset)."""

    def __init__(self, settings: KafkaQueueSettings, position: Position | None) -> None:
        self._settings = settings
        self._library = kafka_library()
        self._lock = threading.Lock()  # of the offsets: `position` comes from other threads
        self._offsets: dict[int, PartitionOffsets] = {}
        self._to_commit: set[int] = set()
        self._committing = self._closed = False
        self._broken: JobError | None = None
        self._consumer = settings.consumer(self._committed)
        try:
            partitions = self._own_partitions()
            if position is None:
                self._assign(partitions, self._where_group_is(partitions))
            else:
                self._assign(partitions, {number: position.get(number, Reached(0)) for number in partitions})
        except BaseException:
            self._consumer.close()
            raise

    def poll(self, timeout_s: float, limit: int) -> list[Message]:
        """See `Queue.poll`."""
        if self._broken is not None:
            raise self._broken
        self._commit()
        if time.monotonic() >= self._next_look:
            self._take_new_partitions()
        if limit < 1:
            return []
        fetched = [first] if (first := self._consumer.poll(timeout_s)) is not None else []
        if fetched and limit > 1:
            fetched += self._consumer.consume(limit - 1, 0)
        return list(self._due(fetched))

    def acknowledge(self, receipts: Sequence[Receipt]) -> None:
        """See `Queue.acknowledge`. Commits as far as all messages of a partition are acknowledged."""
        if self._closed:
            return
        with self._lock:
            for partition, offsets in _by_partition(receipts).items():
                if partition in self._offsets and self._offsets[partition].acknowledge(offsets):
                    self._to_commit.add(partition)
        self._commit()

    def give_back(self, receipts: Sequence[Receipt]) -> None:
        """See `Queue.give_back`. Kafka has no such thing: they are fetched again, and the rest of that is dropped."""
        for partition, offsets in _by_partition(receipts).items():
            if partition in self._offsets:
                with self._lock:
                    start = self._offsets[partition].give_back(offsets)
                self._consumer.seek(self._place(partition, start))

    def position(self, emitted: Collection[Receipt]) -> Position:
        """See `Queue.position`. All partitions are in it: what is not there yet begins at its beginning."""
        by_partition = _by_partition(emitted)
        with self._lock:
            return {number: offsets.emit(by_partition.get(number, ())) for number, offsets in self._offsets.items()}

    def close(self) -> None:
        """See `Queue.close`. What is acknowledged is committed, if the server answers."""
        if self._closed:
            return
        self._closed = True
        end = time.monotonic() + ANSWER_S
        self._consumer.pause(self._consumer.assignment())
        while (self._to_commit or self._committing) and self._broken is None and time.monotonic() < end:
            self._commit()
            self._consumer.poll(0.05)  # serves the answer
        self._consumer.close()

    def _due(self, fetched: Iterable[confluent_kafka.Message]) -> Iterator[Message]:
        for message in fetched:
            if (error := message.error()) is not None:
                self._settings.cluster.raise_if_final(self._settings.topic, error)
                continue
            number, offset = place_of(message)[1:]
            with self._lock:
                if self._offsets[number].is_restarted(offset):
                    log.warning("%s/%d begins anew at %d", self._settings.topic, number, offset)
                    self._offsets[number] = PartitionOffsets(Reached(offset))
                due = self._offsets[number].is_due(offset)
            if due:
                yield self._message(message)

    def _message(self, message: confluent_kafka.Message) -> Message:
        kind, milliseconds = message.timestamp()
        known = kind != self._library.TIMESTAMP_NOT_AVAILABLE
        return message_of(
            place_of(message),
            message.value(),
            message.key(),
            attributes_of(message),
            milliseconds if known else -1,
            self._settings.timestamp_attribute,
            self._settings.max_future_s,
        )

    def _own_partitions(self) -> list[int]:
        settings = self._settings
        self._next_look = time.monotonic() + NEW_PARTITIONS_S
        found = settings.cluster.partitions(self._consumer, settings.topic)
        return [number for number in found if number % settings.parts == settings.part]

    def _where_group_is(self, partitions: list[int]) -> Position:
        places = [self._library.TopicPartition(self._settings.topic, number) for number in partitions]
        end = time.monotonic() + ANSWER_S
        while True:
            try:
                found = self._consumer.committed(places, timeout=ANSWER_S)
                return {place.partition: Reached(place.offset) for place in found if place.offset >= 0}
            except self._library.KafkaException as error:
                # A cluster that is new, or whose broker has just gone, settles within seconds who keeps the offsets.
                settling = error.args[0].name() in SETTLING
                if not settling or time.monotonic() > end:
                    problem = self._settings.cluster.problem(self._settings.topic, error.args[0])
                    raise JobError([problem]) from error
            time.sleep(0.1)

    def _assign(self, partitions: Iterable[int], position: Position) -> None:
        """Partitions without a position begin at their beginning, or where `auto.offset.reset` says."""
        new = {}
        for number in partitions:
            new[number] = position[number] if number in position else Reached(self._beginning(number))
        with self._lock:
            self._offsets |= {number: PartitionOffsets(reached) for number, reached in new.items()}
        self._consumer.incremental_assign([self._place(number, reached.next) for number, reached in new.items()])

    def _beginning(self, number: int) -> int:
        try:
            first, end = self._consumer.get_watermark_offsets(self._place(number, 0), timeout=ANSWER_S)
        except self._library.KafkaException as error:
            raise JobError([self._settings.cluster.problem(self._settings.topic, error.args[0])]) from error
        reset = self._settings.cluster.options.get("auto.offset.reset", "earliest")
        return int(end if reset in ("latest", "largest", "end") else first)

    def _take_new_partitions(self) -> None:
        try:
            new = [number for number in self._own_partitions() if number not in self._offsets]
            self._assign(new, dict.fromkeys(new, Reached(0)))
        except JobError as error:
            if error.problems[0].place == "topic":
                raise
            log.warning("%s", error)  # the broker is away; it is asked again

    def _commit(self) -> None:
        """One request at a time: what is acknowledged meanwhile goes with the next one, and so does what failed."""
        if self._committing or not self._to_commit:
            return
        with self._lock:
            places = [self._place(number, self._offsets[number].to_commit) for number in self._to_commit]
        self._to_commit.clear()
        self._committing = True
        self._consumer.commit(offsets=places, asynchronous=True)

    def _committed(self, error: confluent_kafka.KafkaError | None, places: list[Any]) -> None:
        self._committing = False
        for place in places:
            if (reason := error or place.error) is not None:
                self._to_commit.add(place.partition)
                try:
                    self._settings.cluster.raise_if_final(self._settings.topic, reason)
                except JobError as final:
                    self._broken = final  # raised by the next `poll`: nobody listens to this one

    def _place(self, partition: int, offset: int) -> Any:
        return self._library.TopicPartition(self._settings.topic, partition, offset)


def _by_partition(receipts: Iterable[Receipt]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for partition, offset in receipts:
        found[partition].append(offset)
    return found
