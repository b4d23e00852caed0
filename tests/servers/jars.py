"""Jars of servers, from Maven Central, fetched once: `python -m tests.servers.jars` fetches all of them."""

from __future__ import annotations

import os
from pathlib import Path

from runners.flink.jars import kept, run_maven

POMS = Path(__file__).parent / "jars"


def fetched_jars(name: str) -> Path:
    """The folder with the jars that jars/NAME.xml asks for; it is kept, outside the repository.

    Raises:
        FileNotFoundError: there is no Maven.
        subprocess.CalledProcessError: Maven failed; what it says is on standard error.
    """
    pom = POMS / f"{name}.xml"
    folder = kept(name, pom)
    if not folder.exists():
        fetched = folder.with_name(f"{folder.name}-{os.getpid()}")
        run_maven(pom, "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fetched}")
        fetched.rename(folder)
    return folder


if __name__ == "__main__":
    for file in sorted(POMS.glob("*.xml")):
        print(fetched_jars(file.stem))
