"""The wire form: statuses, bodies and headers of the endpoints that classify."""

import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from classer_core.cached import CachedEngine
from classer_core.engine import Engine
from classer_core.models import Scores
from runners.serve import model_queue
from tests.fakes import POISON, FakeModel
from tests.serve.running import RunningServer

LABELS = ["billing", "technical"]
CLASSIFY = {"text": "about billing", "labels": LABELS}


def texts(prefix: str) -> Iterator[str]:
    yield from (f"{prefix} {number}" for number in range(10_000))


fresh = texts("billing and more of it")


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check what all errors have in common; return the body."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (status, code), body
    assert body["error"] == code.lower().replace("_", "-")
    assert isinstance(body["detail"], str) and body["detail"] == body["message"]
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    assert "Traceback" not in response.text and "/home" not in response.text
    return body


def test_classify(server: RunningServer) -> None:
    text = next(fresh)
    response = server.post("/v1/classify", {"text": text, "labels": LABELS})
    body = response.json()
    assert response.status_code == 200 and body.keys() == {"label", "confidence", "tokens", "latency_ms", "cached"}
    assert (body["label"], body["tokens"], body["cached"]) == ("billing", len(text.split()), False)
    assert 0.5 < body["confidence"] <= 1 and body["latency_ms"] > 0
    headers = response.headers
    assert (headers["x-cache"], headers["x-tokens-used"]) == ("MISS", str(body["tokens"]))
    assert re.fullmatch("[0-9a-f]{16}", headers["x-cache-key"]) and "x-cache-age" not in headers
    assert not [name for name in headers if name.startswith("x-ratelimit")]


def test_tag(server: RunningServer) -> None:
    body = server.post("/v1/tag", {"text": "billing technical technical", "labels": LABELS}).json()
    assert [item["label"] for item in body["labels"]] == ["technical", "billing"]
    assert body["labels"][0]["confidence"] >= body["labels"][1]["confidence"] > 0.9
    nothing = server.post("/v1/tag", {"text": "neither", "labels": LABELS}).json()
    assert nothing["labels"] == []
    everything = server.post("/v1/tag", {"text": "neither", "labels": LABELS, "threshold": 0}).json()
    assert len(everything["labels"]) == 2


def test_a_known_answer_is_a_hit_until_the_client_wants_a_fresh_one(server: RunningServer) -> None:
    ask = {"text": next(fresh), "labels": LABELS}
    first, again = server.post("/v1/classify", ask), server.post("/v1/classify", ask | {"labels": LABELS[::-1]})
    assert (again.json()["cached"], again.headers["x-cache"], again.headers["x-tokens-used"]) == (True, "HIT", "0")
    assert again.headers["x-cache-key"] == first.headers["x-cache-key"]
    assert int(again.headers["x-cache-age"]) >= 0
    assert again.json()["tokens"] == first.json()["tokens"]
    anew = server.post("/v1/classify", ask | {"cache": False})
    assert (anew.json()["cached"], anew.headers["x-cache"]) == (False, "MISS")


def test_the_answer_obeys_each_requests_threshold(server: RunningServer) -> None:
    ask = {"text": "billing", "labels": LABELS}
    for threshold, count in ((0, 2), (0.5, 1), (1, 0), (0, 2)):
        assert len(server.post("/v1/tag", ask | {"threshold": threshold}).json()["labels"]) == count


def test_batches(server: RunningServer) -> None:
    ask = {"texts": [next(fresh), "", next(fresh)], "labels": LABELS}
    response = server.post("/v1/classify/batch", ask)
    body = response.json()
    assert [item["label"] for item in body["results"]] == ["billing", None, "billing"]
    assert [bool(item["error"]) for item in body["results"]] == [False, True, False]
    assert body["total_tokens"] == sum(item["tokens"] for item in body["results"]) > 0
    assert (response.headers["x-cache"], response.headers["x-tokens-used"]) == ("MISS", str(body["total_tokens"]))
    assert "x-cache-key" not in response.headers
    ask["texts"] = [ask["texts"][0], ask["texts"][2]]
    again = server.post("/v1/classify/batch", ask)
    assert (again.headers["x-cache"], again.json()["total_tokens"]) == ("HIT", 0)
    assert all(item["cached"] and item["cache"]["hit"] for item in again.json()["results"])
    tagged = server.post("/v1/tag/batch", {"texts": ["technical", "neither"], "labels": LABELS}).json()["results"]
    assert [[item["label"] for item in one["labels"]] for one in tagged] == [["technical"], []]


def test_a_batch_of_1000_keeps_its_order(server: RunningServer) -> None:
    wanted = [LABELS[n % 2] for n in range(1_000)]
    ask = {"texts": [f"{label} {n}" for n, label in enumerate(wanted)], "labels": LABELS}
    found = server.post("/v1/classify/batch", ask).json()["results"]
    assert [item["label"] for item in found] == wanted


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"NaN", b'{"text": "\xff"}', b'{"threshold": NaN}'])
def test_400_no_json(server: RunningServer, body: bytes) -> None:
    refused(server.post("/v1/classify", body), 400, "INVALID_JSON")


def test_404_and_405(server: RunningServer) -> None:
    for path in ("/v1/keys", "/v1/balance", "/v1/models", "/v1/classify/", "/v1/%2e%2e/etc", "/static/../keys"):
        refused(server.get(path), 404, "NOT_FOUND")
    refused(server.post("/v1/chat/completions", {}), 404, "NOT_FOUND")
    refused(
        server.post("/v1/classify", CLASSIFY | {"classifier": "unknown", "labels": []}), 404, "CLASSIFIER_NOT_FOUND"
    )
    refused(server.get("/v1/classifiers/unknown"), 404, "CLASSIFIER_NOT_FOUND")
    response = server.get("/v1/classify")
    refused(response, 405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "POST"


def test_413_is_said_before_the_body_is_read(server: RunningServer) -> None:
    head = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.server.port), 10) as connection:
        connection.sendall(head)
        assert b" 413 " in connection.recv(65_536)
    chunks = (b"x" * 65_536 for _ in range(32))
    refused(server.client.post("/v1/classify", content=chunks), 413, "PAYLOAD_TOO_LARGE")
    assert server.post("/v1/classify", CLASSIFY).status_code == 200


@pytest.mark.parametrize("field", ["text", "labels", "threshold", "descriptions", "priority", "cache"])
def test_422_names_the_field(server: RunningServer, field: str) -> None:
    body = refused(server.post("/v1/tag", CLASSIFY | {field: {"a": [object.__name__]}}), 422, "VALIDATION_ERROR")
    assert body["details"]["field"] == field


def test_500_says_nothing_of_the_inside(server: RunningServer) -> None:
    body = refused(server.post("/v1/classify", {"text": POISON, "labels": LABELS}), 500, "INTERNAL_ERROR")
    assert "choked" not in body["message"] and "model_queue" not in json.dumps(body)


def test_request_ids(server: RunningServer) -> None:
    def id_of(sent: str | None) -> str:
        headers = {} if sent is None else {"X-Request-ID": sent}
        return server.get("/healthz", headers=headers).headers["x-request-id"]

    assert id_of("my.own:id-1") == "my.own:id-1"
    assert id_of(None) != id_of(None)
    for hostile in ("x" * 129, "a b", "<script>"):
        assert re.fullmatch("[0-9a-f]{16}", id_of(hostile))


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[RunningServer]:
    """Keys `all`, `reader` (may classify alone) and `slow` (two requests a minute, one at a time)."""
    digest = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("all", "reader", "slow")}
    limits = "{requests_per_minute: 2, tokens_per_minute: 1000, concurrent: 1}"
    (tmp_path / "keys.yaml").write_text(
        f"keys:\n- {{name: all, sha256: {digest['all']}}}\n"
        f"- {{name: reader, sha256: {digest['reader']}, allow: [classify]}}\n"
        f"- {{name: slow, sha256: {digest['slow']}, limits: {limits}}}\n"
    )
    with RunningServer(tmp_path, keys=tmp_path / "keys.yaml") as running:
        yield running


def bearer(key: str) -> dict[str, dict[str, str]]:
    return {"headers": {"Authorization": f"Bearer {key}"}}


def test_401_403_and_429(keyed: RunningServer) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic all"}, {"Authorization": "all"}):
        response = keyed.post("/v1/classify", CLASSIFY, headers=headers)
        refused(response, 401, "INVALID_API_KEY")
        assert response.headers["www-authenticate"] == "Bearer" and "wrong" not in response.text
    assert keyed.post("/v1/classify", CLASSIFY, **bearer("all")).status_code == 200
    assert keyed.post("/v1/classify", CLASSIFY, **bearer("reader")).status_code == 200
    refused(keyed.post("/v1/classifiers", {"name": "x", "labels": ["a"]}, **bearer("reader")), 403, "FORBIDDEN")
    refused(keyed.get("/v1/batch", **bearer("reader")), 403, "FORBIDDEN")
    for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
        assert keyed.get(path).status_code == 200

    answers = [keyed.post("/v1/classify", {"text": next(fresh), "labels": LABELS}, **bearer("slow")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused(answers[2], 429, "RATE_LIMIT_EXCEEDED")
    assert 1 <= int(answers[2].headers["retry-after"]) <= 60
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]
    assert answers[0].headers["x-ratelimit-limit-tokens"] == "1000"
    assert int(answers[0].headers["x-ratelimit-reset"]) >= time.time() - 60
    cached = keyed.post("/v1/classify", CLASSIFY, **bearer("slow"))
    assert (cached.status_code, cached.headers["x-cache"]) == (200, "HIT")


def test_keys_change_without_a_restart(keyed: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(f"keys: [{{name: new, sha256: {hashlib.sha256(b'new').hexdigest()}}}]\npublic: {{}}\n")
    assert keyed.post("/v1/classify", CLASSIFY, **bearer("new")).status_code == 401
    keyed.server._reload_keys()
    assert keyed.post("/v1/classify", CLASSIFY, **bearer("new")).status_code == 200
    assert keyed.post("/v1/classify", CLASSIFY, **bearer("all")).status_code == 401
    file.write_text("keys: []")
    keyed.server._reload_keys()
    assert keyed.post("/v1/classify", CLASSIFY, **bearer("new")).status_code == 200
    # Public mode: classify and tag alone, with limits.
    response = keyed.post("/v1/tag", CLASSIFY)
    assert (response.status_code, response.headers["x-ratelimit-limit-requests"]) == (200, "30")
    for path in ("/v1/classify/batch", "/v1/classifiers", "/v1/batch"):
        refused(keyed.post(path, CLASSIFY), 401, "INVALID_API_KEY")


class SlowModel(FakeModel):
    """A fake model that waits until it may go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.batches: list[list[str]] = []

    def score(self, texts: Any, classifiers: Any) -> Any:
        self.batches.append([" ".join(parts) for parts in texts])
        self.go_on.wait(20)
        return super().score(texts, classifiers)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[RunningServer, SlowModel]]:
    model = SlowModel()
    with RunningServer(tmp_path, lambda: CachedEngine(Engine(model))) as running:
        model.batches.clear()
        yield running, model
        model.go_on.set()


def in_background(server: RunningServer, body: dict[str, Any]) -> threading.Thread:
    thread = threading.Thread(target=lambda: httpx.post(f"{server.url}/v1/classify", json=body, timeout=30))
    thread.start()
    return thread


def wait_until(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_queued_while_the_model_was_busy_is_the_next_batch(slow: tuple[RunningServer, SlowModel]) -> None:
    server, model = slow
    model.go_on.clear()
    threads = [in_background(server, {"text": "first", "labels": LABELS})]
    wait_until(lambda: model.batches == [["first"]])
    for number in range(4):
        threads.append(in_background(server, {"text": f"later {number}", "labels": LABELS}))
        wait_until(lambda number=number: server.server.service._queue.state()[0] == number + 1)
    threads.append(in_background(server, {"text": "urgent", "labels": LABELS, "priority": "fast"}))
    wait_until(lambda: server.server.service._queue.state()[0] == 5)
    model.go_on.set()
    for thread in threads:
        thread.join()
    assert model.batches == [["first"], ["urgent"], [f"later {number}" for number in range(4)]]


def test_a_request_whose_client_has_gone_is_not_read(slow: tuple[RunningServer, SlowModel]) -> None:
    server, model = slow
    model.go_on.clear()
    first = in_background(server, {"text": "first", "labels": LABELS})
    wait_until(lambda: model.batches == [["first"]])
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/classify", json={"text": "gone", "labels": LABELS}, timeout=0.3)
    last = in_background(server, {"text": "last", "labels": LABELS})
    wait_until(lambda: server.server.service._queue.state()[0] == 2)
    model.go_on.set()
    for thread in (first, last):
        thread.join()
    assert model.batches == [["first"], ["last"]]
    assert b"classer_dropped_total 1.0" in server.server.service.metrics.render()


def test_503_when_too_much_waits_but_known_answers_are_given(
    slow: tuple[RunningServer, SlowModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, model = slow
    assert server.post("/v1/classify", CLASSIFY).status_code == 200
    monkeypatch.setattr(model_queue, "MAX_WAITING_RECORDS", 1)
    model.go_on.clear()
    threads = [in_background(server, {"text": "first", "labels": LABELS})]
    wait_until(lambda: ["first"] in model.batches)
    threads.append(in_background(server, {"text": "second", "labels": LABELS}))
    wait_until(lambda: server.server.service._queue.state()[0] == 1)
    response = server.post("/v1/classify", {"text": "third", "labels": LABELS})
    refused(response, 503, "UNAVAILABLE")
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert server.post("/v1/classify", CLASSIFY).headers["x-cache"] == "HIT"
    model.go_on.set()
    for thread in threads:
        thread.join()


class BrokenModel(FakeModel):
    """A model that raises on everything once it is warm."""

    is_broken = False

    def score(self, texts: Any, classifiers: Any) -> list[Scores]:
        if self.is_broken:
            raise RuntimeError("out of order")
        return super().score(texts, classifiers)  # type: ignore[return-value]


def test_a_model_that_fails_on_everything_fails_its_requests_and_no_more(tmp_path: Path) -> None:
    model = BrokenModel()
    with RunningServer(tmp_path, lambda: CachedEngine(Engine(model))) as server:
        model.is_broken = True
        refused(server.post("/v1/classify", CLASSIFY), 500, "INTERNAL_ERROR")
        refused(server.post("/v1/classify/batch", {"texts": ["a", "b"], "labels": LABELS}), 500, "INTERNAL_ERROR")
        model.is_broken = False
        assert server.post("/v1/classify", CLASSIFY).status_code == 200
