"""The job that is disturbed: its input, which is another one each time, and what is in its output."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from classer_core.source_file import open_reading
from classer_core.storage import join, list_folder, list_folders, open_writing
from pipelines.job import Job, parse_job
from pipelines.writers.files import name_of
from pipelines.writers.publish import files_by_run, last_success, newest_whole

Rows = tuple[tuple[str, ...], ...]


class DisturbedJob:
    """Three files in, a folder of results and one of failures out.

    Args:
        base: a folder of any storage.
        rows: of each file.
    """

    def __init__(self, base: str, rows: tuple[int, int, int] = (40, 60, 30)) -> None:
        self._base = base
        self._rows = rows
        self._version = 0

    def put_input(self) -> Rows:
        """Write the next input: three files, one of several blocks. Return what its output is."""
        self._version += 1
        rows: list[tuple[str, ...]] = []
        for number, count in enumerate(self._rows):
            label = ("billing", "login")[(self._version + number) % 2]
            lines = []
            for row in range(count):
                text = "" if row % 10 == 0 else f"{label} {self._version} " + "x" * (20_000 if number == 1 else 1)
                id_ = f"{number}-{row}"
                rows.append((id_, label, str(self._version)) if text else (id_, "text_empty"))
                lines.append(json.dumps({"id": id_, "text": text, "version": str(self._version)}))
            data = "\n".join(lines).encode()
            name = f"{number}.ndjson" + (".gz" if number == 0 else "")
            with open_writing(join(self._base, "in", name)) as file:
                file.write(gzip.compress(data) if number == 0 else data)
        return tuple(sorted(rows))

    def job(self) -> Job:
        source = {"format": "ndjson", "path": join(self._base, "in", "*")}
        document = {"source": source, "labels": ["billing", "login"], "output": {"path": join(self._base, "out")}}
        return parse_job({**document, "passthrough": ["version"], "cache": "none"}, Path("/nowhere/job.yaml"))

    def content(self) -> Rows:
        """Return the rows of the output: of all files where `_SUCCESS` is, else of the newest run that is whole."""
        folders = [join(self._base, name) for name in ("out", "out-failures")]
        by_run = [files_by_run(folder) for folder in folders]
        whole = newest_whole(by_run)
        rows: list[tuple[str, ...]] = []
        for folder, runs in zip(folders, by_run, strict=True):
            complete = last_success(folder) is not None
            paths = [path for run in runs for path in runs[run]] if complete else runs.get(whole or "", [])
            for path in paths:
                with open_reading(path) as file:
                    found = pq.read_table(file).to_pylist()
                rows += [_shown(row) for row in found]
        return tuple(sorted(rows))

    def leftovers(self) -> list[str]:
        """Return what is there beside rows and `_SUCCESS`; hidden files are those of writes whose deletion failed."""
        left = []
        for folder in (join(self._base, name) for name in ("out", "out-failures")):
            success = last_success(folder)
            names = [name_of(found.path) for found in list_folder(folder)]
            left += [name for name in names if name[0] != "." and name != "_SUCCESS" and f"-{success}." not in name]
            left += [name for name in list_folders(folder) if name_of(name) == "_temporary" and list_folder(name)]
        return left


def _shown(row: dict[str, Any]) -> tuple[str, ...]:
    return (row["id"], row["code"]) if "code" in row else (row["id"], row["label"], row["version"])
