"""Whoever lacks the libraries of a feature is told how to install them, before a record is read."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from classer_core.cache import open_cache
from classer_core.contents import PixelNeeds
from classer_core.documents.expander import Expander
from classer_core.errors import JobError, ModelLoadError
from classer_core.extras import MODULES
from classer_core.models.loading import load_model, load_visual_model
from classer_core.models.ocr import OcrReader
from classer_core.models.photos import PhotoClassifier
from classer_core.models.spec import ModelSpec
from pipelines.job import parse_job
from tests.fakes import FakeModel

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def uninstall(monkeypatch: pytest.MonkeyPatch, *extras: str) -> None:
    for extra in extras:
        for name in MODULES[extra]:
            monkeypatch.setitem(sys.modules, name, None)


def test_install_commands_name_extras_that_exist() -> None:
    named = set(MODULES)
    for package in ("classer_core", "pipelines", "runners"):
        for path in (ROOT / package).rglob("*.py"):
            named |= set(re.findall(r"classer-pipelines\[(\w+)\]", path.read_text()))
    assert named <= EXTRAS.keys()
    assert {"documents", "gcp", "kafka", "serve"} <= named


def test_all_holds_every_extra_for_users() -> None:
    [requirement] = EXTRAS["all"]
    assert set(re.findall(r"\w+", requirement.partition("[")[2])) == EXTRAS.keys() - {"all", "dev"}


@pytest.mark.parametrize(
    ("source", "more", "extra", "place"),
    [
        ({"format": "documents", "path": "*.pdf"}, {}, "documents", "source.format"),
        ({"format": "ndjson", "path": "*.ndjson", "columns": {"file": "scan"}}, {}, "documents", "source.columns.file"),
        ({"format": "ndjson", "path": "*.ndjson", "columns": {"image": "url"}}, {}, "vision", "visual_model"),
        ({"format": "documents", "path": "*.pdf"}, {"visual_model": "some/clip"}, "models", "visual_model"),
    ],
)
def test_a_job_with_attachments_needs_their_libraries(
    source: dict[str, Any],
    more: dict[str, Any],
    extra: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("a.pdf", "a.ndjson"):
        (tmp_path / name).touch()
    document = {"source": source, "labels": ["a", "b"], "output": {"path": "out"}, **more}
    parse_job(document, tmp_path / "job.yaml")
    uninstall(monkeypatch, extra)
    with pytest.raises(JobError) as raised:
        parse_job(document, tmp_path / "job.yaml")
    problems = {problem.place.rpartition(": ")[2]: problem for problem in raised.value.problems}
    assert problems[place].remedy == f"Run pip install 'classer-pipelines[{extra}]'."
    assert MODULES[extra][-1] in problems[place].message


def test_a_job_of_texts_needs_no_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.ndjson").touch()
    uninstall(monkeypatch, *MODULES)
    source = {"format": "ndjson", "path": "*.ndjson"}
    parse_job({"source": source, "labels": ["a", "b"], "output": {"path": "out"}}, tmp_path / "job.yaml")


def test_parsers_models_and_caches_name_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a job that is checked before: from Python, or for a record that brings a document."""
    uninstall(monkeypatch, *MODULES)
    with pytest.raises(JobError, match=r"pymupdf.*pip install 'classer-pipelines\[documents\]'"):
        Expander(PixelNeeds.nothing())
    with pytest.raises(JobError, match=r"cache = redis: .*classer-pipelines\[redis\]"):
        open_cache("redis://localhost:6379/0")
    with pytest.raises(ModelLoadError, match=r"visual_model = 'some/clip': .*classer-pipelines\[models\]"):
        load_visual_model("some/clip", FakeModel())
    with pytest.raises(ModelLoadError, match=r"model = 'entailment:some/nli': .*classer-pipelines\[models\]"):
        load_model("entailment:some/nli")
    with pytest.raises(ModelLoadError, match=r"model = 'some/unknown': .*classer-pipelines\[models\]"):
        load_model("some/unknown")
    with pytest.raises(ModelLoadError, match=r"classer-pipelines\[vision\]"):
        _ = OcrReader(1).id
    with pytest.raises(ModelLoadError, match=r"classer-pipelines\[vision\]"):
        PhotoClassifier().classify([])


@pytest.mark.parametrize("model", ["none", ModelSpec(id="none")])
def test_none_is_not_a_visual_model(model: str | ModelSpec) -> None:
    assert load_visual_model(model, FakeModel()) is None
