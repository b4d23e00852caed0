"""What a server is started with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from classer_core.cache import default_cache_url
from classer_core.fetching.rules import FetchRules
from classer_core.models import EMBEDDED
from classer_core.models.spec import AnyModelSpec, ModelSpec

if TYPE_CHECKING:
    from pipelines.job import Job

MAX_BODY_MIB = 64


@dataclass(frozen=True)
class Settings:
    """The settings of a server.

    Attributes:
        model, visual_model, page_overflow: as in a job file.
        classifiers: folder of saved classifiers, a path or URL.
        cache: URL of the cache; `none` keeps answers in memory alone.
        allow_hosts, allow_http: what `image` and `file` may reach beside public `https://` addresses. Paths never.
        keys: the key file; None asks for no key.
        jobs: folder of asynchronous batches.
        public_url: what clients reach the server at, for the URLs of uploads and results; None takes it from requests.
        root_path: prefix of all paths behind a proxy.
        cors_origins: origins whose pages may call the API from a browser.
        max_body_bytes: of a request; uploads of jobs have their own limit.
        drain_s: after SIGTERM, how long new requests are still taken while `/readyz` says no.
    """

    model: str | AnyModelSpec = EMBEDDED
    visual_model: str | ModelSpec = EMBEDDED
    page_overflow: str = "fail"
    classifiers: str = "classifiers"
    cache: str = ""
    allow_hosts: tuple[str, ...] = ()
    allow_http: bool = False
    keys: Path | None = None
    jobs: Path = Path()
    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str | None = None
    root_path: str = ""
    cors_origins: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    max_body_bytes: int = MAX_BODY_MIB << 20
    drain_s: float = 2.0

    def completed(self) -> Settings:
        """Return the settings with this user's own places for the cache and the jobs, where none are named."""
        jobs = self.jobs if self.jobs != Path() else Path(platformdirs.user_state_dir("classer")) / "jobs"
        return replace(self, cache=self.cache or default_cache_url(), jobs=jobs.expanduser().absolute())

    def of_job(self, job: Job) -> Settings:
        """Return the settings with the models, cache, saved classifiers and hosts of a job."""
        return replace(
            self,
            model=job.model,
            visual_model=job.visual_model,
            page_overflow=job.page_overflow,
            classifiers=job.classifiers,
            cache=job.cache if isinstance(job.cache, str) else self.cache,
            allow_hosts=tuple(job.allow_hosts),
            allow_http=job.allow_http,
        )

    @property
    def fetch_rules(self) -> FetchRules:
        """What requests may make the server fetch; no path of the server is among it."""
        return FetchRules(allow_hosts=self.allow_hosts, allow_http=self.allow_http)
