"""Refresher: keeps up with the saved classifiers of a job while its stream runs."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

from classer_core.errors import RecordError
from classer_core.requests import RequestParser
from classer_core.saved import ClassifierStore, SavedClassifiers
from pipelines.requests import Requests

log = logging.getLogger(__name__)


class Refresher:
    """Makes request parsers that know the newest versions of saved classifiers. What is damaged is as if not there.

    Args:
        requests: makes the parsers; what the job's classifier means at first is what it meant when it was loaded.
        folder: of the saved classifiers.
        every_s: how often new versions are looked for.
    """

    def __init__(self, requests: Requests, folder: str, every_s: float) -> None:
        self._requests = requests
        self._folder = folder
        self._every_s = every_s
        self._saved = requests.saved or SavedClassifiers(folder, {})
        self.requests = requests.parser()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refresh", daemon=True)

    def start(self) -> None:
        """Look for new versions now, and every `every_s` seconds from then on."""
        self._thread.start()

    def close(self) -> None:
        """Looks no more."""
        self._closed.set()

    def refresh(self) -> None:
        """Looks once. A store that is down, or a version that is damaged, leaves all as it is."""
        try:
            found = self._readable(ClassifierStore(self._folder).list())
            if found != self._saved:
                self.requests = self._parser(found)
                self._saved = found
        except Exception as error:  # whatever a filesystem raises; the stream goes on with what it has
            log.warning("saved classifiers can't be refreshed, the known ones stay: %s", str(error)[:300])

    def _run(self) -> None:
        self.refresh()  # a job that goes on from a checkpoint may have been loaded long ago
        while not self._closed.wait(self._every_s):
            self.refresh()

    def _parser(self, saved: SavedClassifiers) -> RequestParser:
        parser = self._requests.parser(saved)
        before, now = self.requests.classifier, parser.classifier
        if before is not None and now is not None and before.name != now.name:
            log.warning("classifier %s is %s from now on", self._requests.defaults["classifier"], now.name)
        return parser

    def _readable(self, found: SavedClassifiers) -> SavedClassifiers:
        """Without new versions that can't be loaded."""
        versions = {}
        for name, there in found.versions.items():
            known = self._saved.versions.get(name, ())
            good = tuple(version for version in there if version in known or _loads(found, f"{name}@v{version}"))
            if good:
                versions[name] = good
        return replace(found, versions=versions)


def _loads(saved: SavedClassifiers, reference: str) -> bool:
    try:
        saved.load(reference)
    except RecordError as error:
        log.warning("%s is left out: %s", reference, error.message)
        return False
    return True
