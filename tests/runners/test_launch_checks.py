"""What is wrong with a place is said before a record is read: with the key, the value, the remedy, and no secret."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from classer_core.errors import JobError
from classer_core.filesystems import forget_filesystems
from classer_core.storage import write_whole
from pipelines.gold import read_gold
from pipelines.job import parse_job
from pipelines.sample import sample_records
from runners.launch_checks import check_folders
from runners.local import run_job
from tests.fakes import load
from tests.servers.object_stores import reachable
from tests.servers.storage import GcsServer, S3Server, StorageServer

ROOT = Path(__file__).parents[2]


def document(folder: str, **more: Any) -> dict[str, Any]:
    source = {"format": "ndjson", "path": f"{folder}/in.ndjson"}
    return {"source": source, "labels": ["a", "b"], "output": {"path": f"{folder}/out"}, "cache": "none", **more}


def problems_of(act: Callable[[], object]) -> list[tuple[str, str, str, str]]:
    with pytest.raises(JobError) as raised:
        act()
    return [(one.place, one.value.strip("'"), one.message, one.remedy) for one in raised.value.problems]


def run(given: dict[str, Any]) -> None:
    run_job(parse_job(given, Path("/nowhere/job.yaml")), Path("/nowhere"), load=load)


def test_a_folder_below_a_file(tmp_path: Path) -> None:
    """Both folders are wrong, and both are told; nothing is left of the trial."""
    (tmp_path / "in.ndjson").write_text('{"text": "a"}\n')
    (tmp_path / "file").write_text("x")
    given = document(str(tmp_path), output={"path": f"{tmp_path}/file/out"})
    found = problems_of(lambda: run(given))
    assert [(place, message) for place, _, message, _ in found] == [
        ("output.path", "has a file where a folder is expected, or a folder where a file is expected"),
        ("failures", "has a file where a folder is expected, or a folder where a file is expected"),
    ]
    check_folders(parse_job(document(str(tmp_path)), tmp_path / "job.yaml"), "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "in.ndjson"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_denied_by_this_machine() -> None:
    """In a process of a user who owns nothing; what it needs of Python is loaded before, as root."""
    code = """if True:
        import os, sys
        from pathlib import Path
        from pipelines.job import parse_job
        from runners.launch_checks import check_folders

        def check(source):
            document = {"source": {"format": "ndjson", "path": source}, "labels": ["a"], "output": {"path": "out"}}
            job = parse_job(document, Path(sys.argv[1]) / "job.yaml")
            for one in (lambda: job.source.find_columns(job.selection), lambda: check_folders(job, "run")):
                try:
                    one()
                except Exception as error:
                    print(error)

        check("in.ndjson")
        os.setuid(65534)
        check("in.ndjson")
        check("secret.ndjson")
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101
        for name, mode in (("in.ndjson", 0o644), ("secret.ndjson", 0o600)):
            Path(folder, name).write_text('{"text": "a"}\n')
            Path(folder, name).chmod(mode)
        command = [sys.executable, "-c", code, folder]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    places = [line.partition(" = ")[0] for line in lines]
    assert places == ["output.path", "failures", "source.path", "output.path", "failures"], done.stderr
    assert all("access is denied by the filesystem" in line for line in lines)


@pytest.mark.parametrize("pattern", ["gs://b/**", "gs://b/out/*.parquet", "gs://b/out/"])
def test_a_job_does_not_read_what_it_writes(pattern: str) -> None:
    source = {"format": "parquet", "path": pattern}
    job = parse_job({**document("gs://b"), "source": source}, Path("/nowhere/job.yaml"))
    assert problems_of(lambda: check_folders(job, "run"))[0][:3] == (
        "source.path",
        pattern,
        "matches files of the job's own output 'gs://b/out'",
    )


def test_failures_are_looked_for_by_their_own_format() -> None:
    source = {"format": "ndjson", "path": "gs://b/bad/*.ndjson"}
    failures = {"path": "gs://b/bad", "format": "ndjson"}
    job = parse_job({**document("gs://b"), "source": source, "failures": failures}, Path("/nowhere/job.yaml"))
    found = problems_of(lambda: check_folders(job, "run"))
    assert [one[2] for one in found] == ["matches files of the job's own output 'gs://b/bad'"]


def test_a_bucket_that_can_have_no_such_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked: the library refuses it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    given = {**document(str(tmp_path)), "output": {"path": "s3://Bad Bucket!/x"}}
    (tmp_path / "in.ndjson").write_text('{"text": "a"}\n')
    forget_filesystems()
    found = problems_of(lambda: check_folders(parse_job(given, tmp_path / "job.yaml"), "run"))
    forget_filesystems()
    assert [one[::2] for one in found] == [("output.path", "is not a valid name"), ("failures", "is not a valid name")]


def test_a_filesystem_that_nobody_knows(tmp_path: Path) -> None:
    found = problems_of(lambda: parse_job({**document(str(tmp_path)), "classifiers": "nosuch://x"}, tmp_path / "j"))
    assert found[0][1:3] == ("nosuch://x", "is on an unknown kind of filesystem")


@pytest.fixture(params=[S3Server, GcsServer], ids=["s3", "gcs"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageServer]:
    with request.param() as started, reachable(started, monkeypatch):
        yield started


@pytest.mark.integration
def test_buckets_and_files_that_are_not_there(server: StorageServer, tmp_path: Path) -> None:
    """At every key of a job, and for every command that reads a source."""
    write_whole(f"{server.bucket}/in.ndjson", b'{"text": "a"}\n')
    lost = f"{server.scheme}://no-such-bucket"
    gone = ("is not there", "Correct the bucket's name, or create the bucket.")
    source = {"format": "ndjson", "path": f"{lost}/*.ndjson"}
    assert problems_of(lambda: run({**document(server.bucket), "source": source})) == [
        ("source.path", f"{lost}/*.ndjson", *gone)
    ]
    job = parse_job({**document(server.bucket), "source": source}, tmp_path / "job.yaml")
    assert problems_of(lambda: sample_records(job, "", 3))[0][0] == "source.path"
    assert problems_of(lambda: run({**document(server.bucket), "output": {"path": f"{lost}/out"}})) == [
        ("output.path", f"{lost}/out", *gone),
        ("failures", f"{lost}/out-failures", *gone),
    ]
    assert problems_of(lambda: run({**document(server.bucket), "failures": f"{lost}/out"})) == [
        ("failures", f"{lost}/out", *gone)
    ]
    job = parse_job(document(server.bucket), tmp_path / "job.yaml")
    assert problems_of(lambda: read_gold(job, f"{lost}/gold.csv", "label", ""))[0][:3] == (
        *("--gold", f"{lost}/gold.csv", gone[0]),
    )
    missing = {"format": "ndjson", "path": f"{server.bucket}/none-*.ndjson"}
    assert problems_of(lambda: run({**document(server.bucket), "source": missing}))[0][2] == "matches no file"


@pytest.mark.integration
def test_keys_that_nobody_knows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with S3Server() as server, reachable(server, monkeypatch):
        write_whole(f"{server.bucket}/in.ndjson", b'{"text": "a"}\n')
        server.demand_rights()
        found = problems_of(lambda: run({**document(server.bucket), "classifiers": str(tmp_path)}))
        job = parse_job({**document(server.bucket), "classifiers": str(tmp_path)}, tmp_path / "job.yaml")
        found += problems_of(lambda: check_folders(job, "run"))
        found += problems_of(lambda: parse_job({**document("x"), "classifiers": server.bucket}, tmp_path / "j"))
    assert [one[0].rpartition(" ")[2] for one in found] == ["source.path", "output.path", "failures", "classifiers"]
    for _, _, message, remedy in found:
        assert message.startswith("access is denied (")
        assert remedy.startswith("Give the account that runs the job the right to")
    assert "test-secret-key" not in json.dumps(found) and "test-key" not in json.dumps(found)


@pytest.mark.integration
def test_no_keys_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with S3Server() as server, reachable(server, monkeypatch):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        forget_filesystems()
        found = problems_of(lambda: run({**document(server.bucket), "classifiers": str(tmp_path)}))
    assert found == [
        (
            "source.path",
            f"{server.bucket}/in.ndjson",
            "needs credentials, and none were found or accepted",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
        )
    ]


class Refusing(BaseHTTPRequestHandler):
    """Answers as Google's storage does to somebody without credentials, or without rights."""

    status = 401

    def do_GET(self) -> None:
        said = {
            401: "Anonymous caller does not have storage.objects.list access to the bucket.",
            403: "job@project.iam.gserviceaccount.com does not have storage.objects.list access to the bucket.",
        }
        body = json.dumps({"error": {"code": self.status, "message": said[self.status]}}).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.mark.parametrize(("status", "message"), [(401, "needs credentials"), (403, "access is denied (job@project")])
def test_google_refuses(status: int, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No emulator asks for rights, so this is a server of the test's own."""
    monkeypatch.setattr(Refusing, "status", status)
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        forget_filesystems()
        found = problems_of(lambda: run({**document("gs://b"), "classifiers": str(tmp_path)}))
        found += problems_of(lambda: parse_job({**document("x"), "classifiers": "gs://b"}, tmp_path / "j"))
        server.shutdown()
        forget_filesystems()
    assert [one[0].rpartition(" ")[2] for one in found] == ["source.path", "classifiers"]
    for _, _, said, remedy in found:
        assert said.startswith(message)
        assert remedy.startswith("Sign in with" if status == 401 else "Give the account")
