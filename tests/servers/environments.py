"""Virtual environments of servers that need other versions of our libraries, each made once, in the user's cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import platformdirs


def programs(name: str, packages: Sequence[str]) -> Path:
    """The `bin` folder of an environment with these packages; one that was begun and not finished is made anew."""
    folder = Path(platformdirs.user_cache_dir("classer-tests")) / name
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *packages], check=True)
        (folder / "ready").touch()
    return folder / "bin"
