"""Sandbox: processes that parse hostile files. If one hangs, crashes or exhausts memory, only its document fails.

Processes are started by `exec` and not only forked: Beam's workers have threads, and a fork of these can deadlock.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from classer_core.documents.expanded import Expanded, ExpandRequest, receive, send, unpack
from classer_core.errors import FailureCode, RecordError
from classer_core.hardware import available_cores

TIMEOUT_S = 30.0
MEMORY_BYTES = 2 << 30
# How often the time limits of documents are checked.
WATCH_S = 0.1
# A page fits into the pipe at once; with the default of 64 KiB it would take sixteen writes.
PIPE_BYTES = 1 << 20


class Sandbox:
    """Expands documents and pictures in sandboxed processes. Thread-safe.

    Args:
        processes: number of processes (default: one per core).
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
        ended = threading.Event()
        # Runners drop their objects without closing them; the processes then end with this object.
        self._end = weakref.finalize(self, _end, self._threads, self._children, ended)
        threading.Thread(target=_watch, args=(self._children, ended), name="sandbox-watch", daemon=True).start()

    def expand(self, tasks: Sequence[tuple[bytes, ExpandRequest]]) -> list[Expanded | RecordError]:
        """Return the pages of each document, or its error, in the same order.

        Args:
            tasks: (file, how to expand it); the sandbox's own `timeout_s` replaces that of the request.
        """
        return list(self._threads.map(self._expand, tasks))

    def close(self) -> None:
        """End the processes."""
        self._end()

    def _expand(self, task: tuple[bytes, ExpandRequest]) -> Expanded | RecordError:
        data, request = task
        child = self._idle.get()
        try:
            return child.ask(data, replace(request, timeout_s=self._timeout_s))
        finally:
            self._idle.put(child)


def _end(threads: ThreadPoolExecutor, children: Sequence[_Child], ended: threading.Event) -> None:
    threads.shutdown()
    ended.set()
    for child in children:
        child.stop()


def _watch(children: Sequence[_Child], ended: threading.Event) -> None:
    while not ended.wait(WATCH_S):
        for child in children:
            child.kill_if_late()


class _Child:
    """One process, started with the first document, and again after it has died or grown too large."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  # guards the two below, which the watching thread uses, too
        self._deadline = math.inf
        self._is_late = False

    def ask(self, data: bytes, request: ExpandRequest) -> Expanded | RecordError:
        process = self._process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        with self._lock:
            self._deadline, self._is_late = time.monotonic() + request.timeout_s, False
        try:
            send(process.stdin, asdict(request), [data])
            answer = receive(process.stdout)
        except Exception:
            answer = None
        with self._lock:
            self._deadline = math.inf
        if answer is not None and not self._is_late:
            with contextlib.suppress(Exception):  # a compromised parser may send anything
                header, blobs = answer
                if header["is_grown"]:
                    self.stop()
                if "code" in header:
                    return RecordError(FailureCode(header["code"]), str(header["message"]), request.field)
                return unpack(header, blobs)
        self.stop()
        return self._death(process, request, self._is_late)

    def kill_if_late(self) -> None:
        """Kill the process if its document has exceeded its time limit."""
        with self._lock:
            if self._process is not None and time.monotonic() > self._deadline:
                self._is_late = True
                _kill(self._process)

    def stop(self) -> None:
        """Kill the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        process = subprocess.Popen(
            [sys.executable, "-m", "classer_core.documents.child", str(self._memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # The environment of the job, which may contain secrets, is not passed on.
            env={**environment, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            start_new_session=True,
        )
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError, AttributeError):  # Linux only, and limited per user
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)  # type: ignore[arg-type]
        return process

    def _death(self, process: subprocess.Popen[bytes], request: ExpandRequest, timed_out: bool) -> RecordError:
        code = process.returncode
        if timed_out or code == -signal.SIGXCPU:
            message = f"expanding the document took more than {request.timeout_s:.0f} s"
            return RecordError(FailureCode.DOCUMENT_TIMEOUT, message, request.field)
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return RecordError(FailureCode.DOCUMENT_CRASHED, f"the document crashed the parser ({cause})", request.field)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
