"""A job that is disturbed again and again: after each fault its output is wholly the old one or wholly the new one."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pipelines.writers import lease
from runners.local import run_job
from tests.chaos.faults import KINDS, OPERATIONS, POSITIONS, Chaos, Fault, position
from tests.chaos.job import DisturbedJob
from tests.fakes import load


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
        self._job = DisturbedJob(base)
        self._chaos = chaos
        self._processes = 0
        self.table: Counter[tuple[str, str]] = Counter()
        self.damaged: list[Damage] = []
        patch.setattr(lease, "_process", lambda pid: f"process {self._processes}")
        self._job.put_input()
        self._run()
        self._rows = self._job.content()

    def calls(self) -> Counter[str]:
        """Return how many calls an undisturbed run makes, by operation."""
        self._job.put_input()
        self._chaos.begin()
        self._run()
        calls = Counter(self._chaos.calls)
        self._rows = self._job.content()
        return calls

    def faults(self, calls: Counter[str], kinds: Iterable[str] = KINDS, stays: Iterable[bool] = (True,)) -> list[Fault]:
        """Return every fault of the plan."""
        plan = itertools.product(OPERATIONS, kinds, POSITIONS, stays)
        return [Fault(op, kind, position(calls[op], where), long) for op, kind, where, long in plan if calls[op]]

    def disturb(self, fault: Fault) -> None:
        """Change the input, run with a fault, look at the output, and run again."""
        old = self._rows
        new = self._job.put_input()
        self._chaos.begin(fault)
        error = self._error()
        injected = self._chaos.injected
        self._chaos.end()
        found = self._job.content()
        if found not in (old, new):
            self._damaged(fault, f"the output is neither the old one nor the new one: {len(found)} rows")
        if error is None and found != new:
            self._damaged(fault, "exit code 0, and the output is not the new one")
        if error is not None:
            again = self._error()
            if again is not None or self._job.content() != new:
                self._damaged(fault, f"the next run: {again!r}")
        if left := self._job.leftovers():
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

    def _run(self) -> None:
        self._processes += 1
        run_job(self._job.job(), Path("/nowhere"), load=load)

    def _error(self) -> Exception | None:
        """Run; return what ends the command with an exit code that is not 0."""
        try:
            self._run()
        except Exception as error:
            return error
        return None
