"""Saved classifiers of a server: the folder that jobs use too, looked at again from time to time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from classer_core.classifiers import Classifier, shown
from classer_core.errors import RecordError
from classer_core.filesystems import is_url, open_filesystem
from classer_core.saved import ClassifierStore, Reference, SavedClassifiers
from runners.serve.errors import ApiError, classifier_not_found, invalid, of_record
from runners.serve.wire import RequestReader

log = logging.getLogger(__name__)

T = TypeVar("T")

# How long a new version that somebody else saved may go unseen; a name that is not known is looked for at once.
REFRESH_S = 10.0
MISS_REFRESH_S = 1.0
FIELDS = ("labels", "descriptions", "examples", "text_type", "mode", "threshold")


class Classifiers:
    """The saved classifiers of a folder, for requests of one event loop.

    Args:
        url: the folder, a path or URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._store = ClassifierStore(url)
        self._saved = SavedClassifiers(url, {})
        self._reader = RequestReader(self._saved)
        self._listed_at = -REFRESH_S
        self._listing = asyncio.Lock()

    async def read(self, document: Mapping[str, Any], parse: Callable[[RequestReader], T]) -> T:
        """Return what `parse` makes of a request, with saved classifiers as they are now."""
        if document.get("classifier"):
            await self._refresh(REFRESH_S)
            try:
                return parse(self._reader)
            except ApiError as error:
                if error.status != 404:
                    raise
            await self._refresh(MISS_REFRESH_S)
        return parse(self._reader)

    async def save(self, document: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Save a classifier; return it, and whether it is a new version.

        Raises:
            ApiError: 422; a field breaks a rule.
        """
        name = document.get("name")
        try:
            if not isinstance(name, str) or Reference.parse(name).version is not None:
                raise invalid(f"name must be a string without a version, got {shown(name)}", "name")
            fields = {field: document[field] for field in FIELDS if document.get(field) is not None}
            classifier = Classifier.of(**{"labels": None, **fields})
        except RecordError as error:
            # What the parser of references calls `classifier` is the field `name` here.
            error.field = "name" if error.field == "classifier" else error.field
            raise of_record(error) from error
        await self._refresh(0)
        before = self._saved
        saved = await asyncio.to_thread(self._store.save, name, classifier)
        await self._refresh(0)
        reference = Reference.parse(saved.name)
        is_new = reference.version not in before.versions.get(reference.name, ())
        return await asyncio.to_thread(self._described, saved), is_new

    async def list(self) -> list[dict[str, Any]]:
        """Return name, newest version, all versions and time of each saved classifier."""
        await self._refresh(MISS_REFRESH_S)
        saved = self._saved

        def described() -> list[dict[str, Any]]:
            return [
                {
                    "name": name,
                    "version": versions[-1],
                    "versions": list(versions),
                    "created_at": self._created_at(Reference(name, versions[-1])),
                }
                for name, versions in saved.versions.items()
            ]

        return await asyncio.to_thread(described)

    async def get(self, reference: str) -> dict[str, Any]:
        """Return a saved classifier by `name` or `name@vN`.

        Raises:
            ApiError: 404; there is none.
        """
        await self._refresh(MISS_REFRESH_S)
        return await asyncio.to_thread(self._described, self.load(reference))

    def load(self, reference: str) -> Classifier:
        """Return a classifier of those that were listed last.

        Raises:
            ApiError: 404; there is none.
        """
        try:
            parsed = Reference.parse(reference)
        except RecordError:
            raise classifier_not_found(shown(reference)) from None
        versions = self._saved.versions.get(parsed.name, ())
        if not versions or (parsed.version is not None and parsed.version not in versions):
            raise classifier_not_found(str(parsed))
        return self._saved.load(reference)

    async def _refresh(self, max_age_s: float) -> None:
        if time.monotonic() - self._listed_at < max_age_s:
            return
        async with self._listing:
            if max_age_s and time.monotonic() - self._listed_at < max_age_s:
                return
            try:
                saved = await asyncio.to_thread(self._store.list)
            except Exception as error:  # whatever a storage raises; what was listed before still holds
                log.warning("saved classifiers can't be listed: %s", type(error).__name__)
                self._listed_at = time.monotonic()
                return
            if saved != self._saved:
                self._saved, self._reader = saved, RequestReader(saved)
            self._listed_at = time.monotonic()

    def _described(self, classifier: Classifier) -> dict[str, Any]:
        reference = Reference.parse(classifier.name)
        said = classifier.to_mapping()
        return {
            "name": reference.name,
            "version": reference.version,
            "labels": said["labels"],
            "descriptions": said.get("descriptions", {}),
            "examples": said.get("examples", {}),
            "text_type": said.get("text_type"),
            "mode": said["mode"],
            "threshold": said["threshold"],
            "created_at": self._created_at(reference),
        }

    def _created_at(self, reference: Reference) -> str | None:
        """Return when a version was saved; None if the filesystem does not tell."""
        file = f"{reference}.yaml"
        with contextlib.suppress(OSError, NotImplementedError, KeyError):
            if not is_url(self._url):
                return timestamp(datetime.fromtimestamp((Path(self._url) / file).stat().st_mtime, UTC))
            files, path = open_filesystem(f"{self._url.rstrip('/')}/{file}")
            return timestamp(files.modified(path).astimezone(UTC))
        return None


def timestamp(moment: datetime) -> str:
    """Return a time as the API writes it.

    >>> timestamp(datetime(2026, 3, 5, 10, 0, 0, tzinfo=UTC))
    '2026-03-05T10:00:00Z'
    """
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z"
