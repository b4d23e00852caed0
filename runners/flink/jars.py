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
MAVEN_SECONDS = 1_200


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
    jar = kept("flink-job-server", POM, ".jar")
    if not jar.exists():
        build = jar.with_name(f"{jar.stem}-{os.getpid()}")
        build.mkdir(parents=True)
        run_maven(POM, f"-Dbuild.folder={build}", "package")
        (build / "flink-job-server.jar").replace(jar)
        shutil.rmtree(build)
    return jar


def kept(name: str, pom: Path, ending: str = "") -> Path:
    """Where in the user's cache folder lies what is made of a pom, as it is now."""
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "classer" / f"{name}-{digest}{ending}"


def run_maven(pom: Path, *arguments: str) -> None:
    """Runs Maven on a pom; what it says goes to standard error.

    Raises:
        FileNotFoundError: there is no Maven.
        subprocess.CalledProcessError: it failed.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise FileNotFoundError(f"Maven makes jars of {pom}: install it (Debian: apt install maven).")
    command = [maven, "-q", "-B", "-ntp", "-f", str(pom), *arguments]
    subprocess.run(command, check=True, stdout=sys.stderr, timeout=MAVEN_SECONDS)


if __name__ == "__main__":
    print(built_job_server_jar())
