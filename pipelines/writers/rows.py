"""Rows of an output folder, read back: for `only: stale`, and for a look at them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import orjson
import pyarrow.parquet as pq

from classer_core.storage import join
from pipelines.damage import DamagedFileError, decoding
from pipelines.hive import values_of
from pipelines.storage import match_files, open_file

log = logging.getLogger(__name__)

ROWS_TOGETHER = 10_000


def rows_of_folder(folder: str, columns: Sequence[str], files: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of published files of a folder, with some of their columns; those of NDJSON have all.

    A damaged file is left out from where it is damaged, and a Parquet file that lacks one of the columns as a whole.
    """
    for path in files:
        partitions = values_of(path, [join(folder, "**")])
        try:
            with open_file(path) as file, decoding(file):
                if path.endswith(".parquet"):
                    parquet = pq.ParquetFile(file)
                    in_file = [name for name in columns if name not in partitions]
                    if set(in_file) <= set(parquet.schema_arrow.names):
                        for batch in parquet.iter_batches(ROWS_TOGETHER, columns=in_file):
                            yield from ({**row, **partitions} for row in batch.to_pylist())
                else:
                    yield from ({**row, **partitions} for row in map(orjson.loads, file))
        except (DamagedFileError, ValueError, KeyError) as error:
            log.warning("%s: can't be read, its records are classified anew: %s", path, str(error)[:200])


def first_rows(folder: str, files: Sequence[str], count: int) -> list[dict[str, Any]]:
    """Return the first `count` rows of some files of a folder, with the values of their partitions."""
    rows: list[dict[str, Any]] = []
    for path in files:
        if len(rows) >= count:
            break
        partitions = values_of(path, [join(folder, "**")])
        before = len(rows)
        with open_file(path) as file:
            if path.endswith(".parquet"):
                batch = next(pq.ParquetFile(file).iter_batches(count - len(rows)), None)
                rows += [] if batch is None else batch.to_pylist()
            else:
                rows += map(orjson.loads, islice(file, count - len(rows)))
        rows[before:] = [{**row, **partitions} for row in rows[before:]]
    return rows


def newest_files(folder: str) -> list[str]:
    """Return the files of the newest hour that a stream has written to a folder."""
    files = sorted(match_files([join(folder, "date=*", "hour=*", "part-*")]))
    newest = files[-1].rpartition("/")[0] if files else ""
    return [path for path in files if path.rpartition("/")[0] == newest]
