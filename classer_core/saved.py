"""Saved classifiers: `name@vN`, one small YAML file each, in a folder of any filesystem that fsspec knows.

A version never changes: what meant one thing yesterday means it for ever. `name` alone is the newest version.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import yaml

from classer_core.classifiers import Classifier, shown
from classer_core.errors import FailureCode, RecordError
from classer_core.fetching.rules import redacted
from classer_core.storage import join, list_folder, read_start, write_new

# No slash and no dot: a name can be no path. Lower case: some filesystems know no other difference.
_REFERENCE = re.compile(r"(?P<name>[a-z0-9][a-z0-9_-]{0,63})(@v(?P<version>[1-9]\d{0,8}))?")
_FILE = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})@v([1-9]\d{0,8})\.yaml")
NAMES_SHOWN = 20
MAX_BYTES = 64 << 20  # a tuned one holds vectors


@dataclass(frozen=True)
class Reference:
    """What names a saved classifier; without a version it is the newest."""

    name: str
    version: int | None = None

    @classmethod
    def parse(cls, text: Any) -> Reference:
        """`name` or `name@vN` in.

        Raises:
            RecordError: it is neither.
        """
        found = _REFERENCE.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise _wrong(
                "a saved classifier is `name` or `name@vN`, the name of up to 64 lower-case letters, digits, - and _, "
                f"got {shown(text)}"
            )
        return cls(found["name"], int(found["version"]) if found["version"] else None)

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@v{self.version}"


@dataclass(frozen=True)
class SavedClassifiers:
    """The classifiers of a folder as they were at one moment: what a run resolves names with, on every worker.

    Args:
        url: the folder.
        versions: name -> its versions, oldest first.
    """

    url: str
    versions: Mapping[str, tuple[int, ...]]

    def resolve(self, reference: str) -> Reference:
        """`name` or `name@vN` in, `name@vN` out.

        Raises:
            RecordError: there is no such name or version; the message lists what there is.
        """
        wanted = Reference.parse(reference)
        versions = self.versions.get(wanted.name)
        if versions is None:
            names = sorted(self.versions)
            known = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
            raise _wrong(
                f"there is no saved classifier {wanted.name!r} in {redacted(self.url)}: it has {known or 'none'}"
            )
        if wanted.version is None:
            return Reference(wanted.name, versions[-1])
        if wanted.version not in versions:
            known = ", ".join(f"v{version}" for version in versions)
            raise _wrong(f"there is no {wanted} in {redacted(self.url)}: {wanted.name} has {known}")
        return wanted

    def load(self, reference: str) -> Classifier:
        """`name` or `name@vN` in, the classifier out; it goes by the full name.

        Raises:
            RecordError: there is no such name or version, or its file is damaged.
        """
        return _load(self.url, str(self.resolve(reference)))


class ClassifierStore:
    """The folder that classifiers are saved in; several writers at once never make the same version.

    Args:
        url: a path, or a URL of any filesystem that fsspec knows; made when first written to.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def list(self) -> SavedClassifiers:
        """All names and versions there are now."""
        versions: dict[str, list[int]] = {}
        for path, *_ in list_folder(self.url):
            if found := _FILE.fullmatch(path.rpartition("/")[2]):
                versions.setdefault(found[1], []).append(int(found[2]))
        return SavedClassifiers(self.url, {name: tuple(sorted(found)) for name, found in sorted(versions.items())})

    def save(self, name: str, classifier: Classifier) -> Classifier:
        """A classifier in, the same one out under its full name: the newest version if that says the same, or the next.

        Raises:
            RecordError: the name is not allowed.
        """
        if Reference.parse(name).version is not None:
            raise _wrong(f"a version is given, not chosen: save {name.partition('@')[0]!r} instead of {name!r}")
        while True:
            saved = self.list()
            newest = saved.versions.get(name, (0,))[-1]
            if newest and (known := saved.load(name)) == classifier:
                return known
            reference = str(Reference(name, newest + 1))
            # Another writer who was faster has made this version: look again.
            with contextlib.suppress(FileExistsError):
                write_new(join(self.url, f"{reference}.yaml"), to_yaml(classifier).encode())
                return replace(classifier, saved_as=reference)

    def text(self, reference: str) -> str:
        """`name` or `name@vN` in, its YAML out.

        Raises:
            RecordError: there is no such name or version.
        """
        return _read(self.url, str(self.list().resolve(reference)))


def to_yaml(classifier: Classifier) -> str:
    """A classifier as its file holds it."""
    return yaml.safe_dump(classifier.to_mapping(), sort_keys=False, allow_unicode=True, width=100)


def from_yaml(text: str, place: str) -> Classifier:
    """Return the classifier that a file's text describes.

    Raises:
        RecordError: it is not a classifier.
    """
    try:
        fields = yaml.safe_load(text)
        return Classifier.of(**fields)
    except (yaml.YAMLError, TypeError, ValueError, AttributeError, RecursionError, RecordError) as error:
        raise _wrong(f"{place} is not a saved classifier: {error}") from error


@lru_cache(maxsize=1_024)
def _load(url: str, reference: str) -> Classifier:
    """A version never changes, so it is read once."""
    return replace(from_yaml(_read(url, reference), reference), saved_as=reference)


def _read(url: str, reference: str) -> str:
    try:
        return read_start(join(url, f"{reference}.yaml"), MAX_BYTES).decode()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise _wrong(f"{reference} in {redacted(url)} can't be read: {error}") from error


def _wrong(message: str) -> RecordError:
    return RecordError(FailureCode.CLASSIFIER_INVALID, message, "classifier")
