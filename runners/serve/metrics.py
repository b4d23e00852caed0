"""What `/metrics` tells Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from runners.serve.model_queue import ModelQueue

SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Histogram(
            "classer_request_seconds",
            "Time from the first byte of a request to the last byte of its response.",
            ["endpoint", "status"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._answers = Counter(
            "classer_answers_total", "Answers, by whether the model read for them.", ["cache"], registry=self.registry
        )
        self._failures = Counter(
            "classer_failures_total", "Records without an answer, by failure code.", ["code"], registry=self.registry
        )
        self._tokens = Counter("classer_tokens_total", "Tokens read by the model.", registry=self.registry)
        self._batch_records = Histogram(
            "classer_batch_records",
            "Records that went through the model together.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            registry=self.registry,
        )
        self._batch_tokens = Histogram(
            "classer_batch_tokens",
            "Estimated tokens of records that went through the model together.",
            buckets=(16, 64, 256, 1024, 4096, 16384, 65536, 262144),
            registry=self.registry,
        )
        self._batch_seconds = Histogram(
            "classer_batch_seconds", "Time of a batch in the model.", buckets=SECONDS, registry=self.registry
        )
        self._dropped = Counter(
            "classer_dropped_total", "Records dropped because their client had gone.", registry=self.registry
        )
        self.ready = Gauge("classer_ready", "1 while the server takes traffic, else 0.", registry=self.registry)

    def watch(self, queue: ModelQueue) -> None:
        """Report the queue's size and age whenever they are asked for."""
        self.registry.register(_QueueCollector(queue))

    def request(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        self._requests.labels(endpoint, str(status)).observe(seconds)

    def answers(self, hits: int, misses: int, tokens: int) -> None:
        """Count the answers of a request and the tokens read for them."""
        if hits:
            self._answers.labels("hit").inc(hits)
        if misses:
            self._answers.labels("miss").inc(misses)
        if tokens:
            self._tokens.inc(tokens)

    def failure(self, code: str) -> None:
        """Count a record without an answer."""
        self._failures.labels(code).inc()

    def batch(self, records: int, tokens: int, seconds: float) -> None:
        """Count a batch that went through the model."""
        self._batch_records.observe(records)
        self._batch_tokens.observe(tokens)
        self._batch_seconds.observe(seconds)

    def dropped(self, records: int) -> None:
        """Count records whose client had gone."""
        self._dropped.inc(records)

    def render(self) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self.registry)


class _QueueCollector(Collector):
    def __init__(self, queue: ModelQueue) -> None:
        self._queue = queue

    def collect(self) -> list[GaugeMetricFamily]:
        """Return the state of the queue now."""
        records, tokens, age_s = self._queue.state()
        return [
            GaugeMetricFamily("classer_queue_records", "Records that wait for the model.", value=records),
            GaugeMetricFamily("classer_queue_tokens", "Estimated tokens of these records.", value=tokens),
            GaugeMetricFamily("classer_queue_age_seconds", "How long the oldest of them has waited.", value=age_s),
        ]
