"""What a run of a job would do and cost, found by reading its source and classifying a sample."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from classer_core.cached import CachedEngine, with_cache
from classer_core.engine import Engine
from classer_core.records import Answer, Record
from pipelines.fetch import FetchContents
from pipelines.job.model import Job
from pipelines.known import JoinAnswersFn, LastOutput
from pipelines.sample import checked_chunks
from runners.adapt import adapted
from runners.certify import certified
from runners.local import cache_url, loader

SAMPLE_ROWS = 400
# The sample is classified in batches, until it is done or this is over: a model may be slow.
SAMPLE_S = 30.0
BATCH_ROWS = 200
# Beam's graph, and the start and end of a run.
START_S = 0.3
# Of an estimate, the half of its 95% interval.
SIGMAS = 1.96
MILLION = 1_000_000


@dataclass(frozen=True)
class Estimate:
    """A number and the half width of its 95% interval; 0 where it was counted."""

    value: float
    error: float = 0.0

    def times(self, factor: float) -> Estimate:
        """Return the estimate of a multiple."""
        return Estimate(self.value * factor, self.error * factor)


@dataclass
class Plan:
    """What a run of a job would do.

    Attributes:
        records: of the source, those that fail included.
        failures: records that would fail before the model, by code.
        distinct: contents of all records that the run classifies; with `cache: false` each record counts.
        current: records whose rows the table has already as they would be written (`write: merge`, `only: stale`).
        from_last_output: distinct contents that the last output answers.
        from_cache: distinct contents that the cache answers.
        to_read: distinct contents that the model reads.
        sampled: of those, how many were classified for this plan.
        sample_failed: of the sample, how many gave a failure.
        tokens: that the model reads.
        pages: pages and pictures that are opened; None if records have no attachments.
        scan_s: seconds for everything but the model, measured on this machine by doing it.
        model_s: seconds of the model, from its rate on the sample.
        workers: machines like this one for `seconds_on_workers`.
        cost: at the job's `prices`; None without.
    """

    records: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    distinct: int = 0
    current: int = 0
    from_last_output: int = 0
    from_cache: int = 0
    to_read: int = 0
    sampled: int = 0
    sample_failed: int = 0
    tokens: Estimate = Estimate(0)
    pages: Estimate | None = None
    scan_s: float = 0.0
    model_s: float = 0.0
    workers: int = 1
    cost: Estimate | None = None
    currency: str | None = None

    @property
    def seconds(self) -> float:
        """Seconds of the run on this machine, after its model is loaded."""
        return START_S + self.scan_s + self.model_s

    @property
    def seconds_on_workers(self) -> float:
        """Seconds on `workers` machines like this one, if work spreads evenly."""
        return START_S + (self.scan_s + self.model_s) / self.workers

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields, and the seconds, as JSON has them."""
        return asdict(self) | {"seconds": self.seconds, "seconds_on_workers": self.seconds_on_workers}


def plan_job(
    job: Job,
    folder: str,
    workers: int = 1,
    sample: int = SAMPLE_ROWS,
    load: Callable[[], Engine] | None = None,
) -> Plan:
    """Return what a run of the job would do. The source is read once, a sample is classified, nothing is written.

    The answers of the sample are not kept, so that a run afterwards does what was planned. Budgets (`max_rows`, ...)
    don't shorten the plan: it is that of the whole job.

    Args:
        job: the job, its paths absolute. One with `adapt` or a guarantee learns first, as its run would.
        folder: file names in ids are relative to it.
        workers: how many machines like this one `seconds_on_workers` is for.
        sample: contents that are classified.
        load: loads the engine, instead of one with the job's models.

    Raises:
        JobError: the source is a stream or can't be read.
        ModelLoadError: the model can't be loaded.
    """
    _ = job.bounded_source
    job = certified(adapted(job, folder), folder)
    load_cached = partial(with_cache, cache_url(job), load) if load is not None else loader(job, "local", 1)
    engine = load_cached()
    plan = Plan(workers=workers)
    began = time.perf_counter()
    scan = _Scan(plan, engine, sample)
    last = LastOutput(job.output, "plan", job.abstention, job.mode, job.scores is not None)
    join = JoinAnswersFn(load_cached, "plan", last if job.only == "stale" else None)
    join.setup()
    fetch = FetchContents(job.fetch_rules(folder), job.source.own_files)
    failures: Counter[str] = Counter()
    for checked in checked_chunks(job, folder):
        plan.records += len(checked.records) + len(checked.failures)
        for chunk in fetch.process(checked):
            failures.update(failure.code for failure in chunk.failures)
            for left in join.process(chunk):
                plan.current += len(chunk) - len(left)
                scan.add(left.records, left.known)
    plan.failures = dict(failures.most_common())
    plan.scan_s = time.perf_counter() - began
    scan.measure(engine.engine)
    if job.prices is not None:
        plan.cost, plan.currency = plan.tokens.times(job.prices.tokens / MILLION), job.prices.currency
    return plan


class _Scan:
    """The contents that are to be read: how many, how large, and a uniform sample of them (algorithm R)."""

    def __init__(self, plan: Plan, engine: CachedEngine, size: int) -> None:
        self._plan = plan
        self._engine = engine
        self._size = size
        self._chosen = random.Random(0)
        self._seen: set[bytes] = set()
        self._bytes = 0
        self._attached = 0
        self._kept: list[Record] = []

    def add(self, records: Sequence[Record], known: Any) -> None:
        """Take the records of a chunk, and the fingerprints that the last output answers."""
        plan = self._plan
        new: dict[bytes, Record] = {}
        for fingerprint, record in zip(self._engine.fingerprints(records), records, strict=True):
            if not record.cache:
                plan.distinct += 1
                self._take(record)
            elif fingerprint not in self._seen:
                self._seen.add(fingerprint)
                new[fingerprint] = record
        plan.distinct += len(new)
        missing = {fingerprint: record for fingerprint, record in new.items() if fingerprint not in known}
        plan.from_last_output += len(new) - len(missing)
        recalled = self._engine.recall(missing)
        plan.from_cache += len(recalled)
        for fingerprint, record in missing.items():
            if fingerprint not in recalled:
                self._take(record)

    def _take(self, record: Record) -> None:
        self._plan.to_read += 1
        self._bytes += _size(record)
        self._attached += bool(record.attachments)
        if len(self._kept) < self._size:
            self._kept.append(record)
        elif (place := self._chosen.randrange(self._plan.to_read)) < self._size:
            self._kept[place] = record

    def measure(self, engine: Engine) -> None:
        """Classify the sample, and say what all contents take."""
        plan, kept = self._plan, self._kept
        if not kept:
            return
        engine.answer(kept[:1])  # what is compiled or loaded at the first call is not part of the rate
        self._chosen.shuffle(kept)
        tokens: list[int] = []
        began = time.perf_counter()
        while len(tokens) < len(kept) and time.perf_counter() - began < SAMPLE_S:
            batch = kept[len(tokens) : len(tokens) + BATCH_ROWS]
            for answer, _ in engine.answer(batch):
                is_answer = isinstance(answer, Answer)
                tokens.append(answer.tokens if isinstance(answer, Answer) else 0)
                plan.sample_failed += not is_answer
        sample_s = time.perf_counter() - began
        sampled = kept[: len(tokens)]
        plan.sampled = len(sampled)
        sizes = [_size(record) for record in sampled]
        plan.tokens = total(tokens, sizes, plan.to_read, self._bytes)
        shares = plan.tokens.value / max(sum(tokens), 1) if sum(tokens) else plan.to_read / len(sampled)
        plan.model_s = sample_s * shares
        if self._attached:
            pages = engine.page_counts(sampled)
            plan.pages = total(pages, [0] * len(pages), plan.to_read, 0)


def total(values: Sequence[int], sizes: Sequence[int], count: int, all_sizes: int) -> Estimate:
    """Return the sum of a value over a population, from a sample without replacement and a size that all have.

    The value is regressed on the size (the regression estimator of survey sampling, Cochran 1977, chapter 7), so that
    the error comes only from what the size does not say.

    Args:
        values: of the sample.
        sizes: of the sample, in the same order.
        count: items of the population.
        all_sizes: sum of the sizes of the population.

    >>> total([10, 20, 30], [1, 2, 3], 6, 21)
    Estimate(value=210.0, error=0.0)
    """
    found, by = np.array(values, np.float64), np.array(sizes, np.float64)
    sampled = len(found)
    if sampled >= count:
        return Estimate(float(found.sum()))
    away, squares = by - by.mean(), float(((by - by.mean()) ** 2).sum())
    slope = float((away * found).sum()) / squares if squares else 0.0
    left = found - found.mean() - slope * away
    # Weighted and divided as the jackknife does it: few long texts decide both the slope and the sum.
    gap = all_sizes / count - by.mean()
    weights = 1 + sampled * gap * away / squares if squares else np.ones(sampled)
    leverage = 1 / sampled + (away**2 / squares if squares else 0.0)
    spread = float(np.sqrt(((weights * left / np.maximum(1 - leverage, 0.05)) ** 2).mean()))
    error = SIGMAS * count * spread * float(np.sqrt((1 - sampled / count) / sampled))
    return Estimate(round(max(float(count * (found.mean() + slope * gap)), 0.0), 3), round(error, 3))


def _size(record: Record) -> int:
    return len(record.text.encode())
