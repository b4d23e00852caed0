"""Damage: only what a decoder says about the content of a file. All else is trouble of the storage or the machine."""

from __future__ import annotations

import csv
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from classer_core.errors import StorageError

# What decoders raise for content that they can't decode: compression (gzip's own error is an OSError, see below), text,
# Parquet. Arrow's errors of memory and of cancelling are none of them.
_BY_DECODERS = (
    *(EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, UnicodeError, csv.Error),
    *(pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, pa.ArrowKeyError, pa.ArrowIndexError),
    *(pa.ArrowSerializationError, pa.ArrowCapacityError),
)


class DamagedFileError(Exception):
    """The content of a file can't be decoded; the decoder's own error is the cause."""


@contextmanager
def decoding(file: Any) -> Iterator[None]:
    """Turn what decoders say about the content of a file into `DamagedFileError`.

    Args:
        file: what is decoded; a `ContentFile` remembers trouble of its storage.

    Raises:
        DamagedFileError: the content is damaged.
        StorageError: the storage could not give the content, whatever the decoder made of it.
    """
    try:
        yield
    except DamagedFileError:
        raise
    except Exception as error:
        failure: StorageError | None = getattr(file, "failure", None)
        if failure is not None:
            raise failure from failure.__cause__
        if not is_from_decoder(error):
            raise
        raise DamagedFileError(f"{type(error).__name__}: {str(error)[:300]}") from error


def is_from_decoder(error: Exception) -> bool:
    """Return whether an error, raised while a readable file was decoded, speaks of the content.

    pyarrow, gzip and bz2 raise OSError without errno for content; with errno it is the machine's.
    """
    if isinstance(error, OSError):
        return error.errno is None and type(error) in (OSError, gzip.BadGzipFile)
    return isinstance(error, _BY_DECODERS)
