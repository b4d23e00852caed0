"""The end of streams on Flink.

A job of Flink's ends when its sources do, and makes no checkpoint after that, so Beam keeps a source of its own open
for ever. A stream that has come to its end is cancelled instead, once a checkpoint has acknowledged its last messages.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from pipelines.streaming.polling import are_over

LOOK_S = 0.5


def wait_for_stream(result: Any) -> None:
    """Returns when the job ends; ends it when its readers, if they are in this process, have ended."""
    done, cancelled = threading.Event(), threading.Event()

    def follow() -> None:
        while not done.wait(LOOK_S):
            if are_over():
                cancelled.set()
                with suppress(Exception):  # a job that is not cancelled never ends
                    result.metrics()  # there are none afterwards
                result.cancel()
                return

    follower = threading.Thread(target=follow, name="end of the stream", daemon=True)
    follower.start()
    try:
        result.wait_until_finish()
    except Exception:
        if not cancelled.is_set():  # else it is how the runner tells it
            raise
    finally:
        done.set()
        follower.join()
