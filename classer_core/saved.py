"""Saved classifiers: one YAML file per `name@vN`, in a local folder or on any filesystem that fsspec supports.

The file of a version is never changed. `name` alone means the newest version.
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

# Without slashes and dots a name can't be a path. Lower case: some filesystems ignore case.
_REFERENCE = re.compile(r"(?P<name>[a-z0-9][a-z0-9_-]{0,63})(@v(?P<version>[1-9]\d{0,8}))?")
_FILE = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})@v([1-9]\d{0,8})\.yaml")
NAMES_SHOWN = 20
MAX_BYTES = 64 << 20  # files of tuned classifiers contain vectors


@dataclass(frozen=True)
class Reference:
    """Name and version of a saved classifier; None for the newest version."""

    name: str
    version: int | None = None

    @classmethod
    def parse(cls, text: Any) -> Reference:
        """Return the reference that `name` or `name@vN` stands for.

        Raises:
            RecordError: the text has another form.

        >>> Reference.parse("tickets@v2")
        Reference(name='tickets', version=2)
        """
        match = _REFERENCE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise _invalid(
                "the name of a saved classifier must be `name` or `name@vN` with up to 64 lower-case letters, digits, "
                f"- and _, got {shown(text)}"
            )
        return cls(match["name"], int(match["version"]) if match["version"] else None)

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@v{self.version}"


@dataclass(frozen=True)
class SavedClassifiers:
    """The names and versions in a folder at one moment, so that all workers of a run resolve names alike.

    Attributes:
        url: the folder.
        versions: name -> its versions, oldest first.
    """

    url: str
    versions: Mapping[str, tuple[int, ...]]

    def resolve(self, reference: str) -> Reference:
        """Return the name and version that `name` or `name@vN` stands for.

        Raises:
            RecordError: there is no such name or version; the message lists those that exist.
        """
        parsed = Reference.parse(reference)
        versions = self.versions.get(parsed.name)
        if versions is None:
            names = sorted(self.versions)
            available = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
            raise _invalid(
                f"there is no saved classifier {parsed.name!r} in {redacted(self.url)}: it has {available or 'none'}"
            )
        if parsed.version is None:
            return Reference(parsed.name, versions[-1])
        if parsed.version not in versions:
            available = ", ".join(f"v{version}" for version in versions)
            raise _invalid(f"there is no {parsed} in {redacted(self.url)}: {parsed.name} has {available}")
        return parsed

    def load(self, reference: str) -> Classifier:
        """Return the classifier that `name` or `name@vN` stands for; its `saved_as` is `name@vN`.

        Raises:
            RecordError: there is no such name or version, or its file is damaged.
        """
        return _load(self.url, str(self.resolve(reference)))


class ClassifierStore:
    """A folder of saved classifiers. Concurrent writers never write the same version.

    Args:
        url: a path, or a URL of any filesystem that fsspec supports; made when a classifier is first saved.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def list(self) -> SavedClassifiers:
        """Return the names and versions that exist now."""
        versions: dict[str, list[int]] = {}
        for file in list_folder(self.url):
            if match := _FILE.fullmatch(file.path.rpartition("/")[2]):
                versions.setdefault(match[1], []).append(int(match[2]))
        return SavedClassifiers(self.url, {name: tuple(sorted(numbers)) for name, numbers in sorted(versions.items())})

    def save(self, name: str, classifier: Classifier) -> Classifier:
        """Save a classifier as the next version of `name`, unless the newest version is equal to it.

        Returns:
            The classifier with `saved_as` set to the newest version.

        Raises:
            RecordError: the name is invalid, or contains a version.
        """
        if Reference.parse(name).version is not None:
            name_alone = name.partition("@")[0]
            raise _invalid(f"versions are numbered automatically: save {name_alone!r} instead of {name!r}")
        while True:
            saved = self.list()
            newest = saved.versions.get(name, (0,))[-1]
            if newest and (newest_saved := saved.load(name)) == classifier:
                return newest_saved
            reference = str(Reference(name, newest + 1))
            # If another writer has just written this version, try the next.
            with contextlib.suppress(FileExistsError):
                write_new(join(self.url, f"{reference}.yaml"), to_yaml(classifier).encode())
                return replace(classifier, saved_as=reference)

    def text(self, reference: str) -> str:
        """Return the YAML of the classifier that `name` or `name@vN` stands for.

        Raises:
            RecordError: there is no such name or version.
        """
        return _read(self.url, str(self.list().resolve(reference)))


def to_yaml(classifier: Classifier) -> str:
    """Return the content of a classifier's file.

    >>> to_yaml(Classifier.of(["spam", "ham"], text_type="email"))
    'labels:\\n- ham\\n- spam\\ntext_type: email\\nmode: single\\nthreshold: 0.5\\n'
    """
    return yaml.safe_dump(classifier.to_mapping(), sort_keys=False, allow_unicode=True, width=100)


def from_yaml(text: str, place: str) -> Classifier:
    """Return the classifier in the content of a file.

    Args:
        text: the content.
        place: the file, for messages.

    Raises:
        RecordError: the content is not that of a classifier's file.
    """
    try:
        fields = yaml.safe_load(text)
        return Classifier.of(**fields)
    except (yaml.YAMLError, TypeError, ValueError, AttributeError, RecursionError, RecordError) as error:
        raise _invalid(f"{place} is not a saved classifier: {error}") from error


@lru_cache(maxsize=1_024)
def _load(url: str, reference: str) -> Classifier:
    """Return a saved classifier. Files of versions never change, so that each is read once per process."""
    return replace(from_yaml(_read(url, reference), reference), saved_as=reference)


def _read(url: str, reference: str) -> str:
    try:
        return read_start(join(url, f"{reference}.yaml"), MAX_BYTES).decode()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise _invalid(f"{reference} in {redacted(url)} can't be read: {error}") from error


def _invalid(message: str) -> RecordError:
    return RecordError(FailureCode.CLASSIFIER_INVALID, message, "classifier")
