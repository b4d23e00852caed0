"""Health, readiness, metrics, the API's description, pages of others, proxies, TLS."""

import json
import logging
import ssl
import subprocess
from pathlib import Path
from queue import SimpleQueue

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from runners.cli import app
from runners.serve.keys import KeyRing
from runners.serve.logs import JsonFormatter
from runners.serve.pages import describe
from tests.serve.running import RunningServer

ASK = {"text": "billing", "labels": ["billing", "technical"]}


def test_health_readiness_and_metrics(server: RunningServer) -> None:
    for path in ("/health", "/healthz"):
        body = server.get(path).json()
        assert body["status"] == "healthy" and body["version"]
    assert server.get("/readyz").json() == {"status": "ready"}
    server.post("/v1/classify", ASK)
    server.post("/v1/classify", ASK)
    server.post("/v1/classify/batch", {"texts": ["poison"], "labels": ["a", "b"]})
    text = server.get("/metrics").text
    for expected in (
        'classer_request_seconds_bucket{endpoint="classify",le="0.002",status="200"}',
        'classer_answers_total{cache="hit"}',
        'classer_answers_total{cache="miss"}',
        'classer_failures_total{code="model_failed"}',
        "classer_batch_records_bucket",
        "classer_batch_tokens_bucket",
        "classer_queue_records 0.0",
        "classer_queue_age_seconds",
        "classer_ready 1.0",
    ):
        assert expected in text, expected


def test_while_draining_readiness_is_off_and_requests_are_answered(tmp_path: Path) -> None:
    with RunningServer(tmp_path) as server:
        server.server.service.drain()
        response = server.get("/readyz")
        assert (response.status_code, response.json()) == (503, {"status": "draining"})
        answered = server.post("/v1/classify", ASK)
        assert (answered.status_code, answered.headers["connection"]) == (200, "close")


def test_the_description_is_valid_and_the_pages_need_nothing_from_elsewhere(server: RunningServer) -> None:
    document = server.get("/openapi.json").json()
    assert document == json.loads(json.dumps(describe()))
    documented = {f"{method} {path}" for path, item in document["paths"].items() for method in item if len(method) < 7}
    assert {"post /v1/classify", "post /v1/tag/batch", "delete /v1/batch/{job_id}", "get /readyz"} <= documented
    for path in ("/", "/docs"):
        response = server.get(path)
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "http://" not in response.text and "https://fonts" not in response.text and "cdn" not in response.text
    assert "ClassifyRequest" in server.get("/docs").text


def test_pages_of_other_origins_may_not_call(server: RunningServer, tmp_path: Path) -> None:
    origin = {"Origin": "https://evil.example"}
    assert server.post("/v1/classify", ASK, headers=origin).json()["code"] == "FORBIDDEN"
    assert server.post("/v1/classify", ASK, headers={"Origin": "null"}).status_code == 403
    assert server.post("/v1/classify", ASK, headers={"Origin": server.url}).status_code == 200
    assert "access-control-allow-origin" not in server.get("/healthz", headers=origin).headers
    with RunningServer(tmp_path, cors_origins=("https://app.example",)) as friendly:
        response = friendly.post("/v1/classify", ASK, headers={"Origin": "https://app.example"})
        assert response.status_code == 200 and response.headers["access-control-allow-origin"] == "https://app.example"
        asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        assert friendly.client.options("/v1/classify", headers=asked).status_code == 200
        assert friendly.post("/v1/classify", ASK, headers=origin).status_code == 403


def test_behind_a_proxy_with_a_prefix(tmp_path: Path) -> None:
    """Whether the proxy takes the prefix off or leaves it."""
    with RunningServer(tmp_path, root_path="/classer") as server:
        for prefix in ("", "/classer"):
            assert server.post(f"{prefix}/v1/classify", ASK).status_code == 200
            assert server.get(f"{prefix}/").status_code == 200
        assert server.get("/openapi.json").json()["servers"] == [{"url": "/classer"}]
        job = server.post("/v1/batch", {"labels": ["a"]}, headers={"Host": "api.example"}).json()
        assert job["upload_url"].startswith("http://api.example/classer/v1/batch/")
    with RunningServer(tmp_path, public_url="https://api.example/c/") as server:
        job = server.post("/v1/batch", {"labels": ["a"]}, headers={"Host": "evil.example"}).json()
        assert job["upload_url"].startswith("https://api.example/c/v1/batch/")


def test_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with RunningServer(tmp_path, tls_certificate=certificate, tls_key=key) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        response = httpx.post(
            f"{url}/v1/classify", json=ASK, verify=ssl.create_default_context(cafile=str(certificate))
        )
        assert response.json()["label"] == "billing"


def test_logs_are_json_and_hold_neither_keys_nor_texts(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is written after the answer; other tests may have turned logging off."""
    access = logging.getLogger("classer.access")
    monkeypatch.setattr(logging.root.manager, "disable", logging.NOTSET)
    monkeypatch.setattr(access, "disabled", False)
    monkeypatch.setattr(access, "_cache", {})
    monkeypatch.setattr(access, "level", logging.INFO)
    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.put)
    monkeypatch.setattr(access, "handlers", [handler])
    headers = {"Authorization": "Bearer very-secret", "X-Request-ID": "find-me"}
    server.post("/v1/classify", ASK | {"text": "private words on billing"}, headers=headers)
    line = JsonFormatter().format(records.get(timeout=30))
    found = json.loads(line)
    assert (found["request_id"], found["status"], found["path"], found["tokens"]) == ("find-me", 200, "/v1/classify", 4)
    assert "secret" not in line and "private" not in line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cache", "nonsense"], "a cache must be"),
        (["--tls-key", "x"], "needs --tls-key"),
        (["--root-path", "x"], "does not begin with /"),
        (["--keys", "nowhere.yaml"], "can't be read"),
        (["--job", "nowhere.yaml"], "can't be read"),
    ],
)
def test_wrong_options_end_with_2_before_anything_starts(options: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["serve", "--jobs", str(tmp_path), *options])
    assert result.exit_code == 2 and said in " ".join(result.output.split())


@pytest.mark.parametrize(
    "text",
    [
        "keys: []",
        "keys: [{name: a, sha256: short}]",
        "keys: [{name: a}]",
        "[]",
        "x: {",
        f"keys: [{{name: a, sha256: {'0' * 64}}}, {{name: a, sha256: {'1' * 64}}}]",
        f"keys: [{{name: a, sha256: {'0' * 64}, allow: [everything]}}]",
    ],
)
def test_wrong_key_files_are_refused_without_repeating_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.yaml").write_text(text)
    with pytest.raises(Exception, match=r"keys\.yaml") as caught:
        KeyRing(tmp_path / "keys.yaml")
    assert "0" * 64 not in str(caught.value) and "short" not in str(caught.value)


def test_the_description_names_only_schemas_there_are() -> None:
    text = yaml.safe_dump(describe())
    for name in {
        line.split("/")[-1].strip("'\"") for line in text.splitlines() if "$ref: '#/components/schemas/" in line
    }:
        assert name in describe()["components"]["schemas"], name
