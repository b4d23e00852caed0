"""Service: what the requests of one server share."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from classer_core import Classifier, Record
from classer_core.cache import NO_CACHE
from classer_core.cached import CachedEngine, load_cached_engine
from classer_core.fetching import Fetcher
from classer_core.hardware import bound_kernel_caches
from runners.serve.answering import Answering
from runners.serve.bodies import Bodies
from runners.serve.classifiers import Classifiers
from runners.serve.errors import unavailable
from runners.serve.keys import KeyRing
from runners.serve.limits import RateLimiter
from runners.serve.metrics import Metrics
from runners.serve.model_queue import ModelQueue
from runners.serve.settings import Settings

if TYPE_CHECKING:
    from runners.serve.jobs.manager import JobManager

log = logging.getLogger(__name__)

WARM_UP_TEXTS = ("hello", "The invoice of last month was charged twice, please help. " * 8)


@dataclass
class Service:
    """A server's settings and state. Made and used on one event loop.

    Attributes:
        settings: what it was started with.
        jobs: the asynchronous batches.
        load: loads the engine; by default the one that the settings name.
        is_draining: whether it is about to end.
    """

    settings: Settings
    keys: KeyRing
    jobs: JobManager
    load: Callable[[], CachedEngine] | None = None
    is_draining: bool = False
    metrics: Metrics = field(default_factory=Metrics)
    limiter: RateLimiter = field(default_factory=RateLimiter)

    def __post_init__(self) -> None:
        self.classifiers = Classifiers(self.settings.classifiers)
        self.bodies = Bodies(self.settings.max_body_bytes)
        self._answering: Answering | None = None
        self._queue: ModelQueue | None = None

    @property
    def is_ready(self) -> bool:
        """Whether requests should come here."""
        return self._answering is not None and not self.is_draining

    @property
    def answering(self) -> Answering:
        """What answers requests.

        Raises:
            ApiError: 503; the model is being loaded.
        """
        if self._answering is None:
            raise unavailable("The model is being loaded", 1)
        return self._answering

    async def start(self) -> None:
        """Load the engine, warm it up, and take up the jobs that were running.

        Raises:
            ModelLoadError: a model can't be loaded.
        """
        engine = await asyncio.to_thread(self._warm_engine)
        self._queue = ModelQueue(engine.classify, self.metrics)
        self.metrics.watch(self._queue)
        is_cache_shared = self.settings.cache != NO_CACHE
        fetcher = Fetcher(self.settings.fetch_rules)
        self._engine = engine
        self._answering = Answering(engine, self._queue, fetcher, self.limiter, self.metrics, is_cache_shared)
        self.metrics.ready.set(1)
        self.jobs.resume()
        log.info("ready")

    def drain(self) -> None:
        """Tell load balancers to send no more requests; those that come are still answered."""
        self.is_draining = True
        self.metrics.ready.set(0)
        log.info("draining: /readyz says no, requests are answered until the listener closes")

    async def stop(self) -> None:
        """End threads and processes; requests must have ended. Jobs go on, or are taken up by the next server."""
        await self.jobs.stop()
        if self._queue is not None and self._answering is not None:
            await asyncio.to_thread(self._queue.close)
            await asyncio.to_thread(self._answering.close)
            await asyncio.to_thread(self._engine.engine.close)
            await asyncio.to_thread(self._engine.flush)

    def _warm_engine(self) -> CachedEngine:
        bound_kernel_caches()
        settings = self.settings
        if self.load is not None:
            engine = self.load()
        else:
            engine = load_cached_engine(settings.cache, settings.model, settings.visual_model, settings.page_overflow)
        classifier = Classifier.of(["greeting", "complaint"])
        for text in WARM_UP_TEXTS:
            engine.engine.classify([Record("warm-up", text, classifier)] * 8)
        gc.collect()
        gc.freeze()  # what is loaded by now is not searched for garbage again
        return engine
