"""openai: against a loopback server with faults, and against llama.cpp's server with Gemma 3 270M."""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from classer_core import (
    Classifier,
    Engine,
    Failure,
    FailureCode,
    JobError,
    ModelLoadError,
    ModelSpec,
    Record,
    Result,
    StorageError,
    load_model,
)
from classer_core.models import openai_client
from tests import real_models
from tests.servers.openai import KEY, OpenAIServer

LABELS = Classifier.of(["billing", "sales", "technical"])


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(openai_client, "ATTEMPTS", 3)


def classify(server: OpenAIServer, texts: list[str], classifier: Classifier = LABELS, **settings: Any) -> list[Any]:
    engine = Engine(load_model(ModelSpec(id=f"openai:llama@{server.url}", **settings)))
    outcomes = engine.classify([Record(str(n), text, classifier) for n, text in enumerate(texts)])
    assert [outcome.id for outcome in outcomes] == [str(n) for n in range(len(texts))]
    return outcomes


def test_labels_get_the_probabilities_of_their_letters(server: OpenAIServer) -> None:
    [result] = classify(server, ["a technical problem"])
    assert result.label == "technical"
    shares = np.array([np.exp(-0.1), np.exp(-5), np.exp(-5)])
    assert abs(result.confidence - shares[0] / shares.sum()) < 1e-3
    assert result.tokens == 31
    assert result.model.startswith(f"openai:llama@{server.url}")
    [body] = server.bodies
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("llama", 1, 0)


def test_descriptions_and_text_type_are_in_the_request(server: OpenAIServer) -> None:
    asked = Classifier.of(["billing", "sales"], descriptions={"sales": "new customers"}, text_type="support ticket")
    classify(server, ["of sales"], asked)
    system = server.bodies[0]["messages"][0]["content"]
    assert "Classify the support ticket" in system and "A: billing\nB: sales (new customers)\n" in system


FAULTS = ["once429 billing", "once500 sales", "oncebroken technical", "oncedropped billing", "nologprobs sales"]


def test_every_record_has_one_row_whatever_fails(server: OpenAIServer) -> None:
    texts = [*FAULTS, "always500 billing", "rejected sales", "wrongform nologprobs billing"]
    texts += [f"plain technical {number}" for number in range(20)]
    outcomes = classify(server, texts)
    for text, outcome in zip(texts, outcomes, strict=True):
        if "always500" in text or "rejected" in text or "wrongform" in text:
            assert isinstance(outcome, Failure) and outcome.code == FailureCode.MODEL_FAILED
        else:
            assert isinstance(outcome, Result) and outcome.label in text
    messages = {outcome.message for outcome in outcomes if isinstance(outcome, Failure)}
    assert "the model's server failed 3 times, at last with: HTTP 500" in messages
    assert "the model's server rejects this record: HTTP 400: context length exceeded" in messages
    # What was answered was asked once.
    assert all(server.attempts[text] == 1 for text in texts if text.startswith("plain"))
    first, second = server.times["once429 billing"]
    assert second - first >= 1.0
    assert server.most_at_once <= 8


def test_a_rejected_record_does_not_change_how_others_are_asked(server: OpenAIServer) -> None:
    rejected, plain = classify(server, ["rejected sales", "plain sales"], concurrency=1)
    assert isinstance(rejected, Failure)
    assert 0.8 < plain.confidence < 1  # by probabilities; that of a structured answer is 0.8
    assert not any("response_format" in body for body in server.bodies)


def test_a_slow_answer_is_asked_for_again(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "TOTAL_TIMEOUT_S", 0.5)
    slow, plain = classify(server, ["onceslow billing", "plain sales"])
    assert (slow.label, plain.label) == ("billing", "sales")
    assert server.attempts["onceslow billing"] == 2


def test_requests_at_once_are_bounded(server: OpenAIServer) -> None:
    classify(server, [f"sales {number}" for number in range(30)], concurrency=2)
    assert server.most_at_once <= 2


def test_without_probabilities_the_answer_is_structured() -> None:
    with OpenAIServer(logprobs=False) as server:
        [result] = classify(server, ["a technical problem"])
    assert (result.label, result.confidence) == ("technical", 0.8)
    assert result.tokens == 62  # of both requests
    formats = [body.get("response_format", {}).get("type") for body in server.bodies]
    assert formats == [None, "json_schema"]


def test_more_labels_than_letters_and_mode_multi(server: OpenAIServer) -> None:
    many = Classifier.of([f"label {number:03}" for number in range(77)])
    [result] = classify(server, ["this is label 042"], many)
    assert (result.label, result.confidence) == ("label 042", 0.8)
    several = Classifier.of(["billing", "sales", "technical"], mode="multi")
    [multi] = classify(server, ["billing and sales"], several)
    assert [item.label for item in multi.labels] == ["billing", "sales"]


def test_a_server_that_is_down_ends_the_run() -> None:
    with OpenAIServer() as server:
        pass
    with pytest.raises(StorageError, match=r"model server http://127.0.0.1:\d+/v1: the model's server failed 3 times"):
        classify(server, ["sales", "billing"])


def test_the_key_is_the_environments_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with OpenAIServer(key=True) as server:
        spec = ModelSpec(id=f"openai:llama@{server.url}", api_key="env:LOOPBACK_KEY")
        with pytest.raises(JobError, match="there is no such variable"):
            load_model(spec)
        monkeypatch.setenv("LOOPBACK_KEY", "wrong-secret")
        with pytest.raises(
            ModelLoadError, match=r"HTTP 401: Incorrect API key provided: Bearer \[key\]. Correct .*model.api_key"
        ) as raised:
            classify(server, ["sales"], api_key="env:LOOPBACK_KEY")
        assert "wrong-secret" not in str(raised.value)
    with OpenAIServer(key=True) as server:
        monkeypatch.setenv("LOOPBACK_KEY", KEY)
        outcomes = classify(server, ["sales", "always500 sales"], api_key="env:LOOPBACK_KEY")
    assert outcomes[0].label == "sales"
    assert KEY not in repr(outcomes) + caplog.text and KEY.encode() not in pickle.dumps(spec)
    with pytest.raises(ValidationError, match="must be env:NAME"):
        ModelSpec(id="openai:llama@http://localhost/v1", api_key="sk-plain")


@pytest.mark.parametrize("id", ["openai:llama", "openai:llama@localhost:8000", "openai:m@https://user:secret@host/v1"])
def test_ids_without_a_server(id: str) -> None:
    with pytest.raises(ModelLoadError, match="must be openai:MODEL@URL") as raised:
        load_model(id)
    assert "secret" not in str(raised.value)


LLAMA_CPP = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_ctx, params.cpuparams.n_threads = sys.argv[1], 0, 4096, 2
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.mark.integration
def test_llama_cpp_with_a_real_model(tmp_path: Path) -> None:
    real_models.install_gemma()
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "xllamacpp==2026.10.11549"], check=True)
    file = real_models.gemma_gguf(tmp_path)
    command = [sys.executable, "-c", LLAMA_CPP, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        address = process.stdout.readline().strip()
        model = load_model(f"openai:gemma@{address}/v1")
        texts = ["I was charged twice, please refund me", "The app crashes at the login", "We want 500 licences"]
        single = model.score([(text,) for text in texts], [LABELS] * 3)
        many = Classifier.of([*LABELS.labels, *(f"topic {number}" for number in range(20))])
        [structured] = model.score([(texts[0],)], [many])
        process.stdin.close()
        process.wait(20)
    for scores in single:
        assert not isinstance(scores, Exception)
        assert scores.tokens > 10 and np.isfinite(scores.values).all()
        assert len(set(scores.values.tolist())) > 1  # probabilities, not an assumed one
    assert sorted(set(np.round(structured.values, 3).tolist()))[0] == 0.0
