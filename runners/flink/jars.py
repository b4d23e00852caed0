"""Flink's own jars, and the jar of Beam's job server, for machines that can't or shouldn't get Beam's published one."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

POM = Path(__file__).parent / "job-server" / "pom.xml"
FLINK_PACKAGE = "apache-flink-libraries==1.19.3"
BUILD_SECONDS = 1_200


def flink_jars() -> list[Path]:
    """The jars that a JobManager and a TaskManager are made of: those of FLINK_HOME, else of the Python package.

    Raises:
        FileNotFoundError: neither is there.
    """
    if home := os.environ.get("FLINK_HOME"):
        folder = Path(home) / "lib"
    else:
        package = importlib.util.find_spec("pyflink")
        folder = Path(next(iter(package.submodule_search_locations or []))) / "lib" if package else Path()
    jars = sorted([*folder.glob("flink-dist-*.jar"), *folder.glob("log4j-*.jar")])
    if not jars:
        remedy = f"Set FLINK_HOME to an unpacked Flink, or `pip install {FLINK_PACKAGE}`."
        raise FileNotFoundError(f"No Flink is found (looked for flink-dist-*.jar in {folder}). {remedy}")
    return jars


def built_job_server_jar() -> Path:
    """Beam's Flink job server as one jar, built by Maven from job-server/pom.xml once and then kept.

    Raises:
        FileNotFoundError: there is no Maven.
        subprocess.CalledProcessError: Maven failed; what it says is on standard error.
    """
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "classer"
    jar = cache / f"flink-job-server-{digest}.jar"
    if not jar.exists():
        maven = shutil.which("mvn")
        if maven is None:
            raise FileNotFoundError("The job server's jar is built by Maven: install it (Debian: apt install maven).")
        build = cache / f"build-{digest}-{os.getpid()}"
        build.mkdir(parents=True)
        command = [maven, "-q", "-B", "-ntp", "-f", str(POM), f"-Dbuild.folder={build}", "package"]
        subprocess.run(command, check=True, stdout=sys.stderr, timeout=BUILD_SECONDS)
        (build / "flink-job-server.jar").replace(jar)
        shutil.rmtree(build)
    return jar


if __name__ == "__main__":
    print(built_job_server_jar())
