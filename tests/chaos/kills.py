"""Random `kill -9` of bulk jobs: `python -m tests.chaos.kills 50 [SEED]` prints what they did.

A third of them at any moment of the process, a third at any moment of its writing, a third while it publishes.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from runners.local import run_job
from tests.chaos.job import DisturbedJob, Rows
from tests.fakes import load

ROWS = (600, 60, 600)
MOMENTS = ("any moment", "while it writes", "while it publishes")
PATIENCE_S = 600.0


class Kills:
    """Kills one job again and again, each time with another input, and continues it.

    Args:
        folder: where it works.
        seed: of the moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._job = DisturbedJob(str(folder), ROWS)
        self.table = Counter(dict.fromkeys(("killed", "rows", "lost", "twice or wrong", "damaged"), 0))
        self._job.put_input()
        start = time.monotonic()
        self._finish()
        self._whole_s = time.monotonic() - start
        self._rows = self._job.content()

    def kill(self, moment: str) -> None:
        """Change the input, kill the job at a moment, look at the output, and run it again."""
        old, new = self._rows, self._job.put_input()
        process = self._start()
        self._wait(moment, process)
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        ended = os.waitpid(process, 0)[1] == 0
        found = self._job.content()
        self.table["killed"] += not ended
        self.table["ended before"] += ended
        self.table["damaged"] += found != new if ended else found not in (old, new)
        self.table["output was the old one"] += found == old
        self._finish()
        self._count(self._job.content(), new)
        self.table["damaged"] += bool(self._job.leftovers())
        self._rows = new

    def _count(self, rows: Rows, expected: Rows) -> None:
        found, wanted = Counter(rows), Counter(expected)
        self.table["rows"] += len(expected)
        self.table["lost"] += sum((wanted - found).values())
        self.table["twice or wrong"] += sum((found - wanted).values())

    def _wait(self, moment: str, process: int) -> None:
        if moment == MOMENTS[0]:
            time.sleep(self._random.uniform(0, self._whole_s))
            return
        published = {path.name for path in self._folder.glob("out*/part-*")}

        def has_begun() -> bool:
            if moment == MOMENTS[1]:
                return any(self._folder.glob("out*/_running"))
            return any(path.name not in published for path in self._folder.glob("out*/part-*"))

        end = time.monotonic() + PATIENCE_S
        while not has_begun() and not _has_ended(process) and time.monotonic() < end:
            time.sleep(0.0005)
        time.sleep(self._random.uniform(0, self._whole_s / 2 if moment == MOMENTS[1] else 0.02))

    def _start(self) -> int:
        """Return the number of a new process, which has loaded everything already: it is all job."""
        process = os.fork()
        if process:
            return process
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            run_job(self._job.job(), Path("/nowhere"), load=load)
            status = 0
        finally:
            os._exit(status)

    def _finish(self) -> None:
        if os.waitpid(self._start(), 0)[1] != 0:
            self.table["damaged"] += 1


def _has_ended(process: int) -> bool:
    """Return whether a child is a zombie: nobody has waited for it yet."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def main(count: int, seed: int) -> Counter[str]:
    """Kill a job so often, and return what that did."""
    with tempfile.TemporaryDirectory(prefix="classer-kills-") as folder:
        kills = Kills(Path(folder), seed)
        for number in range(count):
            kills.kill(MOMENTS[number % len(MOMENTS)])
    return kills.table


if __name__ == "__main__":
    found = main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    print(*(f"{name:24}{number:>10,}" for name, number in found.items()), sep="\n")
    sys.exit(any(found[name] for name in ("damaged", "lost", "twice or wrong")))
