"""A pool of processes that parse hostile bytes: any of them may hang, crash or eat memory, and only its document fails.

A process is started by `exec`, not by fork: workers of Beam have threads, and a fork of those can deadlock.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from classer_core.documents.expanded import Expanded, Wanted, receive, send, unpack, wanted_as_header
from classer_core.errors import FailureCode, RecordError
from classer_core.hardware import available_cores

TIMEOUT_S = 30.0
MEMORY_BYTES = 2 << 30
# MuPDF's and Pillow's small leaks add up over documents.
DOCUMENTS_PER_PROCESS = 500


class Sandbox:
    """Expands documents and pictures in processes of their own. Safe to be used by several threads.

    Args:
        processes: how many (default: one a core).
        timeout_s: wall-clock seconds that a document may take.
        memory_bytes: address space that a document may take.
    """

    def __init__(
        self, processes: int | None = None, timeout_s: float = TIMEOUT_S, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._timeout_s = timeout_s
        count = processes or available_cores()
        self._idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        self._children = [_Child(memory_bytes) for _ in range(count)]
        for child in self._children:
            self._idle.put(child)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="sandbox")
        # Runners drop their models without a word: the processes go when nobody can ask them any more.
        self._end = weakref.finalize(self, _end, self._threads, self._children)

    def expand(self, tasks: Sequence[tuple[bytes, Wanted]]) -> list[Expanded | RecordError]:
        """Documents in, each one's pages or error out, in the same order."""
        return list(self._threads.map(self._expand, tasks))

    def close(self) -> None:
        """Ends the processes."""
        self._end()

    def _expand(self, task: tuple[bytes, Wanted]) -> Expanded | RecordError:
        data, wanted = task
        child = self._idle.get()
        try:
            return child.ask(data, replace(wanted, timeout_s=self._timeout_s))
        finally:
            self._idle.put(child)


def _end(threads: ThreadPoolExecutor, children: Sequence[_Child]) -> None:
    threads.shutdown()
    for child in children:
        child.stop()


class _Child:
    """One process, started when first asked and again after it died."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0

    def ask(self, data: bytes, wanted: Wanted) -> Expanded | RecordError:
        if self._process is None or self._asked >= DOCUMENTS_PER_PROCESS:
            self.stop()
            self._process = self._start()
        process, self._asked = self._process, self._asked + 1
        assert process.stdin is not None and process.stdout is not None
        timed_out = threading.Event()

        def give_up() -> None:
            timed_out.set()
            _kill(process)

        timer = threading.Timer(wanted.timeout_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            send(process.stdin, wanted_as_header(wanted), [data])
            answer = receive(process.stdout)
        except Exception:
            answer = None
        finally:
            timer.cancel()
        if answer is not None and not timed_out.is_set():
            with contextlib.suppress(Exception):  # a parser that was taken over answers whatever it likes
                header, blobs = answer
                if "code" in header:
                    return RecordError(FailureCode(header["code"]), str(header["message"]), wanted.field)
                return unpack(header, blobs)
        self.stop()
        return self._death(process, wanted, timed_out.is_set())

    def stop(self) -> None:
        """Ends the process, if there is one."""
        process, self._process, self._asked = self._process, None, 0
        if process is not None:
            _kill(process)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return subprocess.Popen(
            [sys.executable, "-m", "classer_core.documents.child", str(self._memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # No secret of the job's environment is within reach of a parser that was taken over.
            env={**environment, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            start_new_session=True,
        )

    def _death(self, process: subprocess.Popen[bytes], wanted: Wanted, timed_out: bool) -> RecordError:
        code = process.returncode
        if timed_out or code == -signal.SIGXCPU:
            message = f"expanding it took more than {wanted.timeout_s:.0f} s"
            return RecordError(FailureCode.DOCUMENT_TIMEOUT, message, wanted.field)
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return RecordError(FailureCode.DOCUMENT_CRASHED, f"it crashed the parser ({cause})", wanted.field)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
