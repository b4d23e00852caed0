"""The SDK from PyPI (`classer`), every method it has, pointed at a server by its class attribute."""

import base64
from collections.abc import Iterator
from pathlib import Path

import classer
import pytest

from classer_core import Classifier, ClassifierStore
from tests.documents import pdf
from tests.serve.running import RunningServer

LABELS = ["billing", "technical"]


@pytest.fixture
def sdk(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(classer.ClasserClient, "BASE_URL", server.url)
    monkeypatch.setattr(classer, "_default_client", None)
    monkeypatch.delenv("CLASSER_API_KEY", raising=False)
    yield


@pytest.fixture
def saved(server: RunningServer) -> str:
    store = ClassifierStore(server.server.service.settings.classifiers)
    return str(store.save("sdk-tickets", Classifier.of(LABELS)).name)


@pytest.mark.usefixtures("sdk")
def test_classify_and_tag(saved: str) -> None:
    one = classer.classify("of technical kind", labels=LABELS, descriptions={"billing": "money"}, priority="fast")
    assert (one.label, one.tokens, one.visual_tokens, one.cached) == ("technical", 3, 0, False)
    assert 0.5 < (one.confidence or 0) <= 1 and one.latency_ms > 0
    assert classer.classify("of technical kind", labels=LABELS, descriptions={"billing": "money"}).cached
    assert not classer.classify("of technical kind", labels=LABELS, cache=False).cached
    assert classer.classify("billing", classifier=saved).label == "billing"
    assert classer.classify("billing", classifier="sdk-tickets", labels=[]).label == "billing"
    many = classer.tag("billing technical", labels=LABELS, threshold=0.3)
    assert [item.label for item in many.labels] == LABELS
    assert classer.tag("neither", classifier=saved, threshold=0.9).labels == []


@pytest.mark.usefixtures("sdk")
def test_batches(saved: str) -> None:
    texts = ["sdk billing", "", "sdk technical"]
    first = classer.classify_batch(texts, labels=LABELS)
    assert [item.label for item in first.results] == ["billing", None, "technical"]
    assert [bool(item.error) for item in first.results] == [False, True, False]
    assert first.total_tokens == 4 and first.latency_ms > 0
    again = classer.classify_batch(texts, classifier=saved)
    assert [item.cached for item in again.results] == [True, False, True]
    tagged = classer.tag_batch(["billing technical", "neither", " "], labels=LABELS, threshold=0.5)
    assert [[label.label for label in item.labels] for item in tagged.results] == [LABELS, [], []]
    assert [bool(item.error) for item in tagged.results] == [False, False, True]


@pytest.mark.usefixtures("sdk")
def test_errors_say_what_is_wrong() -> None:
    for call, status, said in (
        (lambda: classer.classify("x", labels=["a", "a"]), 422, "Labels must be unique"),
        (lambda: classer.classify("", labels=LABELS), 422, "no text"),
        (lambda: classer.classify("x", classifier="nowhere"), 404, "no saved classifier 'nowhere'"),
        (lambda: classer.classify_batch([], labels=LABELS), 422, "texts must be 1-1,000"),
        (lambda: classer.classify("x", labels=LABELS, image="/etc/passwd"), 422, "https://"),
        (lambda: classer.classify("x", labels=LABELS, file="https://127.0.0.1/x.pdf"), 422, "not allowed"),
    ):
        with pytest.raises(classer.ClasserError) as caught:
            call()
        assert caught.value.status == status and said in (caught.value.detail or ""), caught.value


@pytest.mark.usefixtures("sdk")
def test_files_and_images(tmp_path: Path) -> None:
    (tmp_path / "letter.pdf").write_bytes(pdf("about billing"))
    read = classer.classify(labels=LABELS, file=str(tmp_path / "letter.pdf"))
    assert read.label == "billing"
    inline = base64.b64encode(pdf("technical technical")).decode()
    assert classer.tag(labels=LABELS, file=inline).labels[0].label == "technical"
    both = classer.classify_batch(["technical", "x"], labels=LABELS, file=str(tmp_path / "letter.pdf"))
    assert [item.error for item in both.results] == [None, None] and both.results[1].label == "billing"
    with pytest.raises(classer.ClasserError, match="visual_model"):  # the fake engine has no eyes
        classer.classify(labels=LABELS, image=PNG)


PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
