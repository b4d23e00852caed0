"""Jobs: made, uploaded, started, polled, fetched, deleted; the process itself runs where a test says integration."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from classer_core import Classifier, ClassifierStore
from runners.serve.jobs.lines import read_lines, write_records
from runners.serve.jobs.results import ResultLines
from runners.serve.jobs.signing import UrlSigner
from tests.serve.running import RunningServer

LABELS = ["billing", "technical"]
LINES = [
    b'{"text": "I was charged twice for my subscription"}',
    b"",
    b'{"text": "   "}',
    b"not json",
    b'{"id": "7", "text": "The app crashes when I open it", "labels": ["other"]}',
    b'{"text": 3}',
    b'{"txt": "x"}',
    b'{"text": "\xff"}',
    b'{"id": "7", "text": "I was charged twice for my subscription"}',
]


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that starts no processes."""
    with RunningServer(tmp_path) as running:
        assert running.server.service.jobs._supervisor is not None
        running.server.service.jobs._look = lambda: None  # type: ignore[method-assign]
        yield running


def create(server: RunningServer, **fields: Any) -> dict[str, Any]:
    response = server.post("/v1/batch", {"labels": LABELS} | fields)
    assert response.status_code == 201, response.text
    return dict(response.json())


def upload(job: dict[str, Any], content: bytes, **fields: str) -> httpx.Response:
    form = {"data": job["upload_fields"] | fields, "files": {"file": ("in.ndjson", content)}}
    return httpx.post(job["upload_url"], **form)


def test_make_upload_start_and_delete(quiet: RunningServer) -> None:
    job = create(quiet)
    assert (
        job["input_key"] == job["upload_fields"]["key"] and {"policy", "x-amz-signature"} <= job["upload_fields"].keys()
    )
    path = f"/v1/batch/{job['job_id']}"
    state = quiet.get(path).json()
    assert (state["status"], state["requests_total"], state["actual_tokens"], state["error"]) == (
        "pending",
        0,
        None,
        None,
    )
    assert quiet.post(f"{path}/start").status_code == 400
    assert quiet.get(f"{path}/results").status_code == 409
    assert upload(job, b"\n".join(LINES)).status_code == 204
    assert quiet.get(path).json()["estimated_tokens"] > 0
    started = quiet.post(f"{path}/start")
    assert (started.status_code, started.json()) == (202, {"job_id": job["job_id"], "status": "processing"})
    assert quiet.post(f"{path}/start").status_code == 409
    assert quiet.client.delete(path).status_code == 409
    assert upload(job, b"{}").status_code == 409
    other = create(quiet)
    assert upload(other, b'{"text": "x"}').status_code == 204
    assert quiet.post(f"/v1/batch/{other['job_id']}/start").json()["code"] == "CONFLICT"  # one at a time
    listed = quiet.get("/v1/batch").json()
    assert [item["job_id"] for item in listed] == [other["job_id"], job["job_id"]]
    assert listed[0].keys() == {"job_id", "status", "requests_total", "requests_completed", "created_at"}
    assert quiet.client.delete(f"/v1/batch/{other['job_id']}").json() == {"job_id": other["job_id"], "deleted": True}
    assert quiet.get(f"/v1/batch/{other['job_id']}").status_code == 404
    assert not (quiet.server.service.settings.jobs / other["job_id"]).exists()


def test_uploads_need_their_own_url_and_key(quiet: RunningServer) -> None:
    job, other = create(quiet), create(quiet)
    assert upload(job, b"{}", key=other["input_key"]).status_code == 403
    for url in (
        job["upload_url"].replace(job["job_id"], other["job_id"]),
        job["upload_url"][:-1] + ("0" if job["upload_url"][-1] != "0" else "1"),
        job["upload_url"].partition("?")[0],
        job["upload_url"].replace("expires=", "expires=9"),
    ):
        assert upload(job | {"upload_url": url}, b"{}").status_code == 403
    assert httpx.get(job["upload_url"].replace("/upload?", "/download?")).status_code == 403
    for body, kind in (
        (b"{}", "application/json"),
        (b"x", "multipart/form-data; boundary=b"),
        (b"", "multipart/form-data"),
    ):
        assert httpx.post(job["upload_url"], content=body, headers={"Content-Type": kind}).status_code == 400
    folder = quiet.server.service.settings.jobs / job["job_id"]
    assert sorted(path.name for path in folder.iterdir()) == ["job.json"]
    # The shell examples send `key` and `file` alone.
    plain = httpx.post(job["upload_url"], data={"key": job["input_key"]}, files={"file": b'{"text": "x"}'})
    assert plain.status_code == 204


def test_an_upload_that_breaks_off_leaves_nothing(quiet: RunningServer) -> None:
    job = create(quiet)
    assert upload(job, b'{"text": "first"}\n').status_code == 204
    head = f'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\n{job["input_key"]}\r\n'
    part = head + '--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n{"text": "second"}\n'
    broken = httpx.post(
        job["upload_url"], content=part.encode(), headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert broken.status_code == 400
    folder = quiet.server.service.settings.jobs / job["job_id"]
    assert (folder / "input.ndjson").read_bytes() == b'{"text": "first"}\n'
    assert sorted(path.name for path in folder.iterdir()) == ["input.ndjson", "job.json"]


def test_signatures_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = UrlSigner(tmp_path)
    query = dict(part.split("=") for part in signer.query("upload", "batch_1").split("&"))
    UrlSigner(tmp_path).check("upload", "batch_1", query)  # also after a restart
    monkeypatch.setattr(time, "time", lambda: int(query["expires"]) + 1)
    with pytest.raises(Exception, match="expired"):
        signer.check("upload", "batch_1", query)


def test_a_request_that_is_repeated_makes_no_second_job(quiet: RunningServer) -> None:
    body, headers = {"labels": LABELS}, {"Idempotency-Key": "abc"}
    first, again = (quiet.post("/v1/batch", body, headers=headers).json() for _ in range(2))
    assert first["job_id"] == again["job_id"]
    assert quiet.post("/v1/batch", body).json()["job_id"] != first["job_id"]
    assert quiet.post("/v1/batch", {"labels": ["other"]}, headers=headers).status_code == 409


def test_fields_that_nobody_reads_may_hold_any_json(quiet: RunningServer) -> None:
    for value in ("\ud800", 10**40, [[{"a": None}]]):
        assert quiet.post("/v1/batch", {"labels": LABELS, "note": value}).status_code == 201


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"labels": ["a", "a"]}, 422),
        ({"labels": None}, 422),
        ({"mode": "many"}, 422),
        ({"mode": "multi", "threshold": 2}, 422),
        ({"labels": None, "classifier": "nowhere"}, 404),
    ],
)
def test_wrong_jobs_are_refused(quiet: RunningServer, fields: dict[str, Any], status: int) -> None:
    assert quiet.post("/v1/batch", {"labels": LABELS} | fields).status_code == status
    assert quiet.get("/v1/batch").json() == []


def test_what_a_job_asks_is_settled_when_it_is_made(quiet: RunningServer) -> None:
    store = ClassifierStore(quiet.server.service.settings.classifiers)
    store.save("t", Classifier.of(LABELS, mode="multi", threshold=0.3))
    keys = [
        create(quiet, mode="multi", threshold=0.2, image="https://ignored.example", priority="nonsense"),
        create(quiet, labels=[], classifier="t"),
        create(quiet, labels=[], classifier="t", mode="single"),
    ]
    stored = [quiet.server.service.jobs._jobs[job["job_id"]].classifier for job in keys]
    assert stored[0] == {"labels": LABELS, "mode": "multi", "threshold": 0.2}
    assert stored[1] == {"classifier": "t@v1"}
    assert (stored[2]["labels"], stored[2]["mode"]) == (LABELS, "single")


def test_jobs_are_there_after_a_restart(tmp_path: Path) -> None:
    with RunningServer(tmp_path) as first:
        job = create(first)
        assert upload(job, b'{"text": "x"}').status_code == 204
    (tmp_path / "jobs" / "batch_0000000000000000").mkdir()
    (tmp_path / "jobs" / "batch_0000000000000000" / "job.json").write_text("{")
    with RunningServer(tmp_path) as second:
        [listed] = second.get("/v1/batch").json()
        assert (listed["job_id"], listed["status"]) == (job["job_id"], "pending")
        old = job["upload_url"].replace(job["upload_url"].split("/v1/")[0], second.url)
        assert upload(job | {"upload_url": old}, b'{"text": "y"}').status_code == 204


def test_lines_become_records_or_errors(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\n".join(LINES))
    errors: dict[int, str] = {}
    total, records = write_records(tmp_path / "in", tmp_path / "out.parquet", errors.__setitem__)
    assert (total, records) == (8, 3)
    assert sorted(errors) == [1, 2, 4, 5, 6]
    assert "empty" in errors[1] and "not JSON" in errors[2] and "not UTF-8" in errors[6]


def test_lines_that_are_too_long_are_skipped_whole(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\xef\xbb\xbfa\n" + b"x" * 100 + b"\n\n" + b"y" * 10 + b"\nz")
    with (tmp_path / "in").open("rb") as file:
        assert list(read_lines(file, 10)) == [b"a", None, b"y" * 10, b"z"]


def test_a_line_that_comes_twice_is_written_once(tmp_path: Path) -> None:
    lines = ResultLines(tmp_path / "db", is_multi=False)
    for position in (2, 0, 1, 0):
        lines.fail(position, f"error {position}")
    assert lines.write(tmp_path / "out") == (3, 3)
    lines.close()
    found = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [line["error"] for line in found] == ["error 0", "error 1", "error 2"]


def finished(server: RunningServer, job: dict[str, Any], until: Callable[[dict[str, Any]], bool] | None = None) -> Any:
    end = time.monotonic() + 300
    while time.monotonic() < end:
        state = server.get(f"/v1/batch/{job['job_id']}").json()
        if state["status"] in ("completed", "failed") or (until is not None and until(state)):
            return state
        time.sleep(0.2)
    raise AssertionError(state)


def fetched(server: RunningServer, job: dict[str, Any]) -> list[dict[str, Any]]:
    url = server.get(f"/v1/batch/{job['job_id']}/results").json()["download_url"]
    response = httpx.get(url)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in response.text.splitlines()]


@pytest.mark.integration
def test_a_job_runs_to_its_end(tmp_path: Path) -> None:
    with RunningServer(tmp_path, cache=f"sqlite:///{tmp_path}/answers.sqlite") as server:
        job = create(server)
        assert upload(job, b"\n".join(LINES)).status_code == 204
        server.post(f"/v1/batch/{job['job_id']}/start")
        state = finished(server, job)
        counts = [state[f"requests_{name}"] for name in ("total", "completed", "failed")]
        assert (state["status"], counts) == ("completed", [8, 3, 5]), state
        assert state["actual_tokens"] > 0 and state["started_at"] <= state["completed_at"]
        rows = fetched(server, job)
        assert [row.get("label") for row in rows] == ["billing", None, None, "technical", None, None, None, "billing"]
        assert [bool(row.get("error")) for row in rows] == [False, True, True, False, True, True, True, False]
        assert rows[0].keys() == {"label", "confidence", "tokens"} and rows[0] == rows[7]
        assert rows[1] | {"error": ""} == {"label": None, "confidence": None, "tokens": 0, "error": ""}
        tagged = create(server, mode="multi", threshold=0)
        upload(tagged, LINES[0])
        server.post(f"/v1/batch/{tagged['job_id']}/start")
        assert finished(server, tagged)["status"] == "completed"
        [row] = fetched(server, tagged)
        assert {item["label"] for item in row["labels"]} == set(LABELS)
        assert server.client.delete(f"/v1/batch/{job['job_id']}").status_code == 200
        empty = create(server)
        upload(empty, b"\n\nnothing\n")
        server.post(f"/v1/batch/{empty['job_id']}/start")
        assert finished(server, empty)["requests_failed"] == 1


@pytest.mark.integration
def test_a_job_goes_on_after_its_process_and_its_server_have_died(tmp_path: Path) -> None:
    """Killed once while a server watches, once while none does; each line is there once."""
    cache = f"sqlite:///{tmp_path}/answers.sqlite"
    count = 600
    content = b"".join(b'{"text": "billing or technical, number %d"}\n' % n for n in range(count))
    with RunningServer(tmp_path, cache=cache) as server:
        job = create(server)
        upload(job, content)
        server.post(f"/v1/batch/{job['job_id']}/start")
        first = _process_of(server)
        time.sleep(1)
        os.kill(first, signal.SIGKILL)
        second = _process_of(server, not_this=first)
    # The server has ended, and the process goes on: it is killed now.
    os.kill(second, signal.SIGKILL)
    with RunningServer(tmp_path, cache=cache) as server:
        state = finished(server, job)
        assert (state["status"], state["requests_completed"], state["requests_failed"]) == ("completed", count, 0)
        rows = fetched(server, job)
        assert len(rows) == count and all(row["label"] in LABELS for row in rows)


def _process_of(server: RunningServer, not_this: int | None = None) -> int:
    import psutil

    end = time.monotonic() + 60
    while time.monotonic() < end:
        for child in psutil.Process().children():
            if child.pid != not_this and "runners.serve.jobs.process" in child.cmdline():
                return int(child.pid)
        time.sleep(0.05)
    raise AssertionError("no process was started")
