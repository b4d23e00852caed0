"""Files of a job: found by pattern, opened through their compression."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from apache_beam.io.filesystem import FileSystem
from apache_beam.io.filesystems import FileSystems
from fsspec.compression import compr
from fsspec.utils import infer_compression

from classer_core.storage import Found, is_url, list_prefix, open_reading

_MAGIC = re.compile(r"[*?\[]")


def find_files(patterns: Sequence[str]) -> dict[str, int]:
    """Path -> size in bytes of every file that a pattern matches, each once, sorted.

    Patterns mean what they mean to Beam: `*` ends at a slash, `**` does not, a folder's name with a slash is all in it.
    """
    return {path: found.size for path, found in match_files(patterns).items()}


def match_files(patterns: Sequence[str]) -> dict[str, Found]:
    """The same, with all that is known of each file."""
    return {found.path: found for found in sorted(found for pattern in patterns for found in _matches(pattern))}


def _matches(pattern: str) -> Iterator[Found]:
    if not is_url(pattern):
        for result in FileSystems.match([pattern]):
            for found in result.metadata_list:
                yield Found(found.path, found.size_in_bytes, found.last_updated_in_seconds)
        return
    for found in list_prefix(_MAGIC.split(pattern, maxsplit=1)[0]):
        if is_match(pattern, found.path):
            yield found


def fixed_folder(pattern: str) -> str:
    """The folder of a pattern that all of its files lie below."""
    return str(Path(_MAGIC.split(pattern, maxsplit=1)[0] + "x").parent)


def is_match(pattern: str, path: str) -> bool:
    """Whether a path is one of those that a pattern means."""
    return re.match(FileSystem.translate_pattern(pattern + "*" * pattern.endswith("/")), path) is not None


def is_compressed(path: str) -> bool:
    """Whether a file's name says that it is compressed (.gz, .bz2, .xz, .zst, ...)."""
    return infer_compression(path) is not None


@contextlib.contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """A file's content, decompressed by its name's ending.

    Beam's own decompression takes a gzip file that was cut short for a whole one and so loses rows without a word;
    these readers raise.
    """
    with open_reading(path) as file:
        compression = infer_compression(path)
        yield cast(BinaryIO, file if compression is None else compr[compression](file, mode="rb"))


def display_name(path: str, folder: str) -> str:
    """How a file is called in ids and messages: relative to the job's folder, so that ids survive a move of both."""
    try:
        return str(Path(path).relative_to(folder)) if folder else path
    except ValueError:
        return path
