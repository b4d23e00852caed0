"""Bulk jobs that are killed at random moments and run again; `python -m tests.chaos.kills 50` does it more often."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.kills import ROWS

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.integration


def test_jobs_that_are_killed_lose_nothing() -> None:
    """In a process without threads, which forks the jobs."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.kills", "6", "7"], cwd=ROOT, capture_output=True, text=True
    )
    found = {line[:24].strip(): int(line[24:].replace(",", "")) for line in done.stdout.splitlines()}
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["rows"] == 6 * sum(ROWS)
    assert (found["lost"], found["twice or wrong"], found["damaged"]) == (0, 0, 0)
    assert found["killed"] + found.get("ended before", 0) == 6
