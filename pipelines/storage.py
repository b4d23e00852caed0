"""Files on any of Beam's filesystems: found by pattern, opened through their compression."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from fsspec.compression import compr
from fsspec.utils import infer_compression


def find_files(patterns: Sequence[str]) -> dict[str, int]:
    """Path -> size in bytes of every file that a pattern matches, each once, sorted."""
    results = FileSystems.match(list(patterns))
    return dict(sorted((found.path, found.size_in_bytes) for result in results for found in result.metadata_list))


def is_compressed(path: str) -> bool:
    """Whether a file's name says that it is compressed (.gz, .bz2, .xz, .zst, ...)."""
    return infer_compression(path) is not None


@contextlib.contextmanager
def open_file(path: str, as_it_is: bool = False) -> Iterator[BinaryIO]:
    """A file's content, decompressed by its name's ending unless it is wanted as it is.

    Beam's own decompression takes a gzip file that was cut short for a whole one and so loses rows without a word;
    these readers raise.
    """
    file = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    try:
        compression = None if as_it_is else infer_compression(path)
        yield cast(BinaryIO, file if compression is None else compr[compression](file, mode="rb"))
    finally:
        file.close()


def display_name(path: str, folder: str) -> str:
    """How a file is called in ids and messages: relative to the job's folder, so that ids survive a move of both."""
    try:
        return str(Path(path).relative_to(folder)) if folder else path
    except ValueError:
        return path
