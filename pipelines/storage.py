"""Files of a job: found by pattern, opened through their compression."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from apache_beam.io.filesystem import FileSystem
from fsspec.compression import compr
from fsspec.utils import infer_compression
from typing_extensions import override

from classer_core.errors import StorageError
from classer_core.filesystems import is_url
from classer_core.patience import patient
from classer_core.source_file import SourceFile, open_reading
from classer_core.storage import StoredFile, list_prefix
from pipelines.damage import decoding

_MAGIC = re.compile(r"[*?\[]")
READ_BYTES = 256 << 10


def find_files(patterns: Sequence[str]) -> dict[str, int]:
    """Path -> size in bytes of every file that a pattern matches, each once, sorted.

    Patterns mean what they mean to Beam: `*` ends at a slash, `**` does not, a folder's name with a slash is all in it.
    """
    return {path: found.size for path, found in match_files(patterns).items()}


def match_files(patterns: Sequence[str]) -> dict[str, StoredFile]:
    """The same, with all that is known of each file."""
    return {found.path: found for found in sorted(found for pattern in patterns for found in _matches(pattern))}


def _matches(pattern: str) -> Iterator[StoredFile]:
    listed = _listed_here(pattern) if not is_url(pattern) else list_prefix(before_magic(pattern))
    for found in listed:
        if is_match(pattern, found.path):
            yield found


def before_magic(pattern: str) -> str:
    """Return the start of a pattern that has no wildcard."""
    return _MAGIC.split(pattern, maxsplit=1)[0]


@patient
def _listed_here(pattern: str) -> list[StoredFile]:
    """Return the files of this machine that may match.

    Beam's own listing leaves out folders that can't be listed, without a word; here they raise. Folders that are too
    deep for the pattern are not looked into; links to folders are followed, but not back to a folder they lie in.
    """
    start = before_magic(pattern)
    if start == pattern and not pattern.endswith("/"):
        return _found([pattern])
    top = start.rpartition("/")[0] or "/"
    rest = pattern[len(top) :].lstrip("/")
    levels = None if "**" in rest else sum(map(rest.count, "/?["))
    if not Path(top).exists():
        return []
    found: list[StoredFile] = []
    for folder, folders, files in os.walk(top, onerror=_raise, followlinks=True):
        folders[:] = [name for name in folders if not _leads_back(folder, name)]
        found += _found(str(Path(folder, name)) for name in files)
        if levels is not None and len(Path(folder).relative_to(top).parts) >= levels:
            folders.clear()
    return found


def _leads_back(folder: str, name: str) -> bool:
    """Return whether a folder's entry is a link to the folder itself, or to one around it."""
    path = Path(folder, name)
    return path.is_symlink() and Path(folder).resolve().is_relative_to(path.resolve())


def _found(paths: Iterable[str]) -> list[StoredFile]:
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            status = Path(path).stat()
            found.append(StoredFile(path, status.st_size, status.st_mtime))
    return found


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def fixed_folder(pattern: str) -> str:
    """The folder of a pattern that all of its files lie below."""
    return str(Path(_MAGIC.split(pattern, maxsplit=1)[0] + "x").parent)


def is_match(pattern: str, path: str) -> bool:
    """Whether a path is one of those that a pattern means."""
    return re.match(FileSystem.translate_pattern(pattern + "*" * pattern.endswith("/")), path) is not None


def is_compressed(path: str) -> bool:
    """Whether a file's name says that it is compressed (.gz, .bz2, .xz, .zst, ...)."""
    return infer_compression(path) is not None


class ContentFile(io.BufferedIOBase):
    """The decompressed content of a file. Damage and trouble of the storage are different errors (`decoding`)."""

    def __init__(self, source: SourceFile, decompressed: BinaryIO) -> None:
        super().__init__()
        self._source = source
        self._file = decompressed

    @property
    def failure(self) -> StorageError | None:
        """The trouble of the storage that ended the reading, whatever a decoder above has made of it."""
        return self._source.failure

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Whether the decompression can go back."""
        return self._file.seekable()

    @override
    def read(self, size: int | None = -1) -> bytes:
        with decoding(self):
            return self._file.read(-1 if size is None else size)

    @override
    def read1(self, size: int = -1) -> bytes:
        return self.read(size if size >= 0 else READ_BYTES)

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with decoding(self):
            return self._file.seek(offset, whence)

    @override
    def tell(self) -> int:
        return self._file.tell()


@contextlib.contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """Open a file's content, decompressed by its name's ending.

    Beam's own decompression takes a gzip file that was cut short for a whole one and so loses rows without a word;
    these readers raise.

    Raises:
        StorageError: the storage can't give it; later, reading raises it or `DamagedFileError`.
    """
    with open_reading(path) as source:
        buffered: Any = io.BufferedReader(source, READ_BYTES)
        compression = infer_compression(path)
        file = ContentFile(source, buffered)
        if compression is not None:
            with decoding(file):
                file = ContentFile(source, _decompressed(buffered, compression))
        yield cast(BinaryIO, file)


def _decompressed(file: Any, compression: str) -> Any:
    """Return the content of a compressed file; reading raises where it was cut short."""
    if compression == "zstd":  # zstandard takes a frame that was cut short for a whole one
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
    return compr[compression](file, mode="rb")


def display_name(path: str, folder: str) -> str:
    """How a file is called in ids and messages: relative to the job's folder, so that ids survive a move of both."""
    try:
        return str(Path(path).relative_to(folder)) if folder else path
    except ValueError:
        return path
