"""A job that is disturbed again and again: after each fault its output is wholly the old one or wholly the new one."""

from __future__ import annotations

import gzip
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from classer_core.source_file import open_reading
from classer_core.storage import join, list_folder, list_folders, open_writing
from pipelines.job import Job, parse_job
from pipelines.writers import lease
from pipelines.writers.publish import files_by_run, last_success, name_of, newest_whole
from runners.local import run_job
from tests.chaos.faults import KINDS, OPERATIONS, POSITIONS, Chaos, Fault, position
from tests.fakes import load

Rows = tuple[tuple[str, ...], ...]


class Damage(NamedTuple):
    """A fault after which an output was not whole, or an exit code or the next run was not right."""

    fault: Fault
    what: str


class Campaign:
    """Runs one job with faults, on any storage.

    Args:
        base: a folder of the storage.
        chaos: what fails there.
        patch: after each run its process is taken for dead, as that of a command is.
    """

    def __init__(self, base: str, chaos: Chaos, patch: pytest.MonkeyPatch) -> None:
        self._base = base
        self._chaos = chaos
        self._version = 0
        self._processes = 0
        self.table: Counter[tuple[str, str]] = Counter()
        self.damaged: list[Damage] = []
        patch.setattr(lease, "_process", lambda pid: f"process {self._processes}")
        self._put_input()
        self._run()
        self._rows = self._content()

    def calls(self) -> Counter[str]:
        """Return how many calls an undisturbed run makes, by operation."""
        self._put_input()
        self._chaos.begin()
        self._run()
        calls = Counter(self._chaos.calls)
        self._rows = self._content()
        return calls

    def faults(self, calls: Counter[str], kinds: Iterable[str] = KINDS, stays: Iterable[bool] = (True,)) -> list[Fault]:
        """Return every fault of the plan."""
        plan = itertools.product(OPERATIONS, kinds, POSITIONS, stays)
        return [Fault(op, kind, position(calls[op], where), long) for op, kind, where, long in plan if calls[op]]

    def disturb(self, fault: Fault) -> None:
        """Change the input, run with a fault, look at the output, and run again."""
        old = self._rows
        new = self._put_input()
        self._chaos.begin(fault)
        error = self._error()
        injected = self._chaos.injected
        self._chaos.end()
        found = self._content()
        if found not in (old, new):
            self._damaged(fault, f"the output is neither the old one nor the new one: {len(found)} rows")
        if error is None and found != new:
            self._damaged(fault, "exit code 0, and the output is not the new one")
        if error is not None:
            again = self._error()
            if again is not None or self._content() != new:
                self._damaged(fault, f"the next run: {again!r}")
        if left := self._leftovers():
            self._damaged(fault, f"left behind: {left}")
        self._rows = new
        for column in ("runs", "exit 0" if error is None else "exit not 0", "old" if found == old else "new"):
            self.table[fault.operation, column] += 1
        self.table[fault.operation, "faults"] += injected

    def lines(self) -> Iterator[str]:
        """Yield the table."""
        columns = ("runs", "faults", "exit 0", "exit not 0", "old", "new", "damaged")
        yield f"{'operation':12}" + "".join(f"{column:>12}" for column in columns)
        for operation in OPERATIONS:
            yield f"{operation:12}" + "".join(f"{self.table[operation, column]:>12,}" for column in columns)
        sums = (sum(self.table[operation, column] for operation in OPERATIONS) for column in columns)
        yield f"{'all':12}" + "".join(f"{number:>12,}" for number in sums)

    def _damaged(self, fault: Fault, what: str) -> None:
        self.table[fault.operation, "damaged"] += 1
        self.damaged.append(Damage(fault, what))

    def _put_input(self) -> Rows:
        """Write the next input: three files, one of several blocks. Return what its output is."""
        self._version += 1
        rows: list[tuple[str, ...]] = []
        for number, count in enumerate((40, 60, 30)):
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

    def _job(self) -> Job:
        source = {"format": "ndjson", "path": join(self._base, "in", "*")}
        document = {"source": source, "labels": ["billing", "login"], "output": {"path": join(self._base, "out")}}
        return parse_job({**document, "passthrough": ["version"], "cache": "none"}, Path("/nowhere/job.yaml"))

    def _run(self) -> None:
        self._processes += 1
        run_job(self._job(), Path("/nowhere"), load=load)

    def _error(self) -> Exception | None:
        """Run; return what ends the command with an exit code that is not 0."""
        try:
            self._run()
        except Exception as error:
            return error
        return None

    def _content(self) -> Rows:
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

    def _leftovers(self) -> list[str]:
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
