"""One run at a time for a folder: `_running` says whose it is, and is gone when the run has ended.

A run that was killed leaves it. On the same machine the process is looked for, so the next run takes the folder over at
once; another machine waits until the sign of life in it, renewed twice a minute, is five minutes old.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from classer_core.errors import AnotherRunError
from classer_core.fetching.rules import redacted
from classer_core.storage import join, read_start, remove, write_new, write_whole

log = logging.getLogger(__name__)

RUNNING, TAKING_OVER = "_running", "_running.next"
BEAT_S = 30.0
STALE_S = 300.0
TRIES = 5
MAX_BYTES = 64 << 10


@dataclass(frozen=True)
class Holder:
    """A run that holds a folder. `machine` and `process` tell whether `pid` still is that process."""

    run: str
    host: str
    pid: int
    machine: str
    process: str
    since: str
    alive_at: float

    @classmethod
    def here(cls, run: str) -> Self:
        """A run of this process."""
        now = time.time()
        since = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        return cls(run, socket.gethostname(), os.getpid(), _machine(), _process(os.getpid()) or "", since, now)

    @classmethod
    def read(cls, path: str) -> Self | None:
        """The holder that a file names; None if it is not there. A file that is not a holder's names a dead one."""
        try:
            found = json.loads(read_start(path, MAX_BYTES))
            return cls(**{field.name: found[field.name] for field in fields(cls)})
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return cls("", "", 0, "", "", "", 0.0)

    def is_alive(self) -> bool:
        """Whether the run goes on, as far as can be seen from here."""
        if self.machine == _machine():
            return _process(self.pid) == self.process
        return time.time() - self.alive_at < STALE_S

    def to_json(self) -> bytes:
        """The file's content."""
        return json.dumps(asdict(self)).encode()

    def refusal(self, folder: str) -> AnotherRunError:
        """Return the message for a second run."""
        return AnotherRunError(
            f"{redacted(folder)} is being written by run {self.run}, on {self.host} (process {self.pid}) since "
            f"{self.since}. Wait for its end, or end it; one that was killed on another machine is given up after "
            f"{STALE_S / 60:.0f} minutes."
        )


@contextlib.contextmanager
def held(folders: Sequence[str], run: str) -> Iterator[None]:
    """Holds folders for a run.

    Raises:
        AnotherRunError: another run holds one of them.
    """
    me = Holder.here(run)
    taken: list[str] = []
    ended = threading.Event()
    thread = threading.Thread(target=_stay_alive, args=(taken, me, ended), name="lease", daemon=True)
    thread.start()
    try:
        for folder in dict.fromkeys(folders):
            _take(folder, me)
            taken.append(folder)
        yield
    finally:
        ended.set()
        thread.join()  # a sign of life on its way would come after the end
        for folder in taken:
            if _is_held_by(folder, run):
                remove([join(folder, RUNNING)])


def check_free(folder: str) -> None:
    """Looks whether a folder can be had, before much is done for it.

    Raises:
        AnotherRunError: another run holds the folder.
    """
    holder = Holder.read(join(folder, RUNNING))
    if holder is not None and holder.is_alive():
        raise holder.refusal(folder)


def check_held(folder: str, run: str, is_leased: bool = False) -> None:
    """Stop a run that lost its folder, before it replaces the rows of the one that took it.

    Args:
        folder: what is about to be changed.
        run: the name of the run that changes it.
        is_leased: whether the run has taken the folder: then it must still hold it. A folder that nobody holds was
            taken by another run, which has ended since.

    Raises:
        AnotherRunError: another run holds the folder, or has held it in the meantime.
    """
    holder = Holder.read(join(folder, RUNNING))
    if holder is not None and holder.run != run:
        raise holder.refusal(folder)
    if holder is None and is_leased:
        raise AnotherRunError(
            f"{redacted(folder)} is not held by this run ({run}) any more: another run took it over, and has ended. "
            "What that one has written stays."
        )


def _take(folder: str, me: Holder) -> None:
    path = join(folder, RUNNING)
    for _ in range(TRIES):
        with contextlib.suppress(FileExistsError):
            write_new(path, me.to_json())
            return
        holder = Holder.read(path)
        if holder is None:
            continue
        if holder.run == me.run:  # taken by an attempt whose answer was lost
            return
        if holder.is_alive():
            raise holder.refusal(folder)
        if _take_over(folder, holder, me):
            log.warning("%s: taken over from run %s on %s, which has died", redacted(folder), holder.run, holder.host)
            return
    raise (holder or me).refusal(folder)


def _take_over(folder: str, dead: Holder, me: Holder) -> bool:
    """Whether the folder of a dead run is ours now; of several that try at once, one succeeds."""
    path, turn = join(folder, RUNNING), join(folder, TAKING_OVER)
    try:
        write_new(turn, me.to_json())
    except FileExistsError:
        other = Holder.read(turn)
        if other is not None and other.is_alive():
            raise other.refusal(folder) from None
        remove([turn])
        return False
    try:
        # Another one may have taken it over since we looked, and be done with its turn.
        if Holder.read(path) != dead:
            return False
        write_whole(path, me.to_json())
        return True
    finally:
        remove([turn])


def _stay_alive(folders: Sequence[str], me: Holder, ended: threading.Event) -> None:
    while not ended.wait(BEAT_S):
        for folder in folders:
            try:
                if _is_held_by(folder, me.run):
                    write_whole(join(folder, RUNNING), replace(me, alive_at=time.time()).to_json())
            except Exception as error:  # tried again soon; whoever takes the folder over stops the run at its end
                log.warning("%s: no sign of life could be written: %s", redacted(folder), type(error).__name__)


def _is_held_by(folder: str, run: str) -> bool:
    holder = Holder.read(join(folder, RUNNING))
    return holder is not None and holder.run == run


def _machine() -> str:
    """Return an identity of this machine, and of its view of processes."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _process(pid: int) -> str | None:
    """Return when a process began, which tells it from a later one of the same number; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if stat[0] in "ZX" else stat[19]  # when it began, in ticks since the boot
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except OSError:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""
