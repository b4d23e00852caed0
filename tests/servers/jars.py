"""Jars of servers, from Maven Central, fetched once: `python -m tests.servers.jars` fetches all of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

POMS = Path(__file__).parent / "jars"
FETCH_SECONDS = 1_200


def fetched_jars(name: str) -> Path:
    """The folder with the jars that jars/NAME.xml asks for; it is kept, outside the repository.

    Raises:
        FileNotFoundError: there is no Maven.
        subprocess.CalledProcessError: Maven failed; what it says is on standard error.
    """
    pom = POMS / f"{name}.xml"
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "classer"
    folder = cache / f"{name}-{digest}"
    if not folder.exists():
        maven = shutil.which("mvn")
        if maven is None:
            raise FileNotFoundError("The jars of servers are fetched by Maven: install it (Debian: apt install maven).")
        fetched = cache / f"{name}-{digest}-{os.getpid()}"
        copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fetched}"]
        command = [maven, "-q", "-B", "-ntp", "-f", str(pom), *copy]
        subprocess.run(command, check=True, stdout=sys.stderr, timeout=FETCH_SECONDS)
        fetched.rename(folder)
    return folder


if __name__ == "__main__":
    for file in sorted(POMS.glob("*.xml")):
        print(fetched_jars(file.stem))
