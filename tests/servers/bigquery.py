"""A BigQuery emulator (bqemulator) for tests and benchmarks, on free ports, with nothing kept.

It lives in a virtual environment of its own, made once in the user's cache folder: it needs other versions of our
libraries.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from runners.flink.cluster import free_port
from tests.servers.environments import programs

PROJECT = "proj-test"
DUCKDB = "1.5.5"
EXTENSIONS = ("spatial", "avro")
PACKAGES = [
    "bqemulator==1.4.0",
    f"duckdb=={DUCKDB}",
    *(f"duckdb-extension-{name}=={DUCKDB}" for name in EXTENSIONS),
    "gcp-storage-emulator==2026.7.19",
    "numpy",
]
STARTUP_S = 60
REPAIRS = Path(__file__).with_name("bigquery_repairs.py")


class BigQueryServer:
    """`with BigQueryServer() as server:` runs the emulator; `server.variables` are what clients find it by.

    `gs://` paths are below `server.bucket`, served by an emulator of Cloud Storage, which load jobs read from.
    """

    def __enter__(self) -> Self:
        python = make_environment()
        self._folder = tempfile.TemporaryDirectory()
        root = Path(self._folder.name)
        _link_extensions(python, root)
        rest, grpc, storage = (free_port() for _ in range(3))
        self.variables = {
            "BIGQUERY_EMULATOR_HOST": f"http://127.0.0.1:{rest}",
            "BIGQUERY_STORAGE_EMULATOR_HOST": f"127.0.0.1:{grpc}",
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{storage}",
        }
        self.bucket = "gs://warehouse"
        (root / ".cloudstorage" / "warehouse").mkdir(parents=True)
        environment = {**os.environ, "HOME": str(root), "BQEMU_GCS_LOCAL_ROOT": str(root / ".cloudstorage")}
        ports = ["--rest-port", str(rest), "--grpc-port", str(grpc), "--project", PROJECT, "--log-level", "error"]
        served = ["--host=127.0.0.1", f"--port={storage}", "--default-bucket=warehouse"]
        self._log = (root / "log").open("wb")
        self._processes = [
            self._start([python, REPAIRS, "start", *ports], environment),
            self._start([python.with_name("gcp-storage-emulator"), "-d", root, "start", *served], environment),
        ]
        for port in (rest, grpc, storage):
            self._wait_for(port)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait(30)
        self._log.close()
        self._folder.cleanup()

    def client(self) -> Any:
        """A client of this server, for what tests set up and look at."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery

        options = {"api_endpoint": self.variables["BIGQUERY_EMULATOR_HOST"]}
        return bigquery.Client(PROJECT, AnonymousCredentials(), client_options=options)

    def _start(self, command: list[Any], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log)

    def _wait_for(self, port: int) -> None:
        deadline = time.monotonic() + STARTUP_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        log = (Path(self._folder.name) / "log").read_text()
        self.__exit__()
        raise RuntimeError(f"the emulator did not start: {log[-2000:]}")


def make_environment() -> Path:
    """The Python of the emulator's environment."""
    return programs("bqemulator-1.4.0", PACKAGES) / "python"


def _link_extensions(python: Path, home: Path) -> None:
    """DuckDB looks for its extensions at home, and would download them."""
    find = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.run([python, "-c", find], check=True, capture_output=True, text=True).stdout.strip())
    for name in EXTENSIONS:
        for file in packages.glob(f"duckdb_extension_{name}/extensions/v{DUCKDB}/*.duckdb_extension"):
            folder = home / ".duckdb" / "extensions" / f"v{DUCKDB}" / "linux_amd64"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file.name).symlink_to(file)


if __name__ == "__main__":
    make_environment()
