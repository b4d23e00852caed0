"""What tests of all queues do: take messages, and kill the process that takes them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.queues import Message, Queue

ROOT = Path(__file__).parents[3]
WAIT_SECONDS = 30.0
# After a program has opened `queue`: messages become lines of the last argument, before they are acknowledged.
WRITE_LINES = """
with open(sys.argv[-1], "a") as rows:
    while True:
        messages = queue.poll(0.1, 50)
        for message in messages:
            rows.write(message.data.decode() + "\\n")
        rows.flush()
        time.sleep(0.01)
        queue.acknowledge([message.receipt for message in messages])
"""


def take(queue: Queue, count: int, wait_s: float = WAIT_SECONDS) -> list[Message]:
    """So many messages, and no more than that."""
    found: list[Message] = []
    end = time.monotonic() + wait_s
    while len(found) < count and time.monotonic() < end:
        found += queue.poll(0.5, 1_000)
    found += queue.poll(0.3, 1_000)
    assert len(found) == count, [message.data for message in found]
    return found


def texts(messages: list[Message]) -> list[str]:
    return [message.data.decode() for message in messages]


def read_and_kill(
    opens: str, arguments: Sequence[str], rows: Path, enough: Callable[[list[str]], bool], wait_s: float = WAIT_SECONDS
) -> list[str]:
    """Runs a program that opens a queue and writes its messages, and kills it once there are enough; all lines."""
    command = [sys.executable, "-c", f"import sys, time\n{opens}{WRITE_LINES}", *arguments, str(rows)]
    reader = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        if enough(rows.read_text().split() if rows.exists() else []):
            break
        time.sleep(0.01)
    reader.send_signal(signal.SIGKILL)
    reader.wait()
    return rows.read_text().split()
