"""Beam's job servers, which bring Flink and Spark along: a jar for Java 11 or newer."""

from __future__ import annotations

import shutil

from apache_beam.utils.subprocess_server import JavaHelper, JavaJarServer

from classer_core.errors import JobError, Problem

# Where the workers of a cluster are asked for, unless the user says otherwise: beside each of its processes.
WORKER_POOL = "localhost:50000"


def job_server_jar(engine: str, version: str) -> str:
    """The path of the jar that Beam publishes for an engine's version; fetched once, from Maven Central, by Beam.

    Raises:
        JobError: there is no Java, or the jar can't be had.
    """
    need_java(engine)
    url = JavaJarServer.path_to_beam_jar(f":runners:{engine}:{version}:job-server:shadowJar")
    try:
        return str(JavaJarServer.local_jar(url))
    except (OSError, RuntimeError) as error:
        remedy = (
            f"Give a jar after `--`: --{engine}_job_server_jar=FILE. runners/flink/README.md says how to build one."
        )
        raise JobError([Problem("--runner", engine, f"its job server can't be fetched: {error}", remedy)]) from error


def need_java(engine: str) -> None:
    """Makes sure that there is a Java.

    Raises:
        JobError: there is none.
    """
    java = JavaHelper.get_java()
    if shutil.which(java) is None:
        remedy = "Install Java 17, or set JAVA_HOME (Debian: apt install openjdk-17-jre-headless)."
        raise JobError([Problem("--runner", engine, f"needs Java; there is no {java}", remedy)])
