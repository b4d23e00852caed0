"""New versions of saved classifiers reach a running stream; trouble with them does not."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from classer_core import Classifier
from classer_core.records import Record
from classer_core.saved import ClassifierStore
from pipelines.job import Job, parse_job
from pipelines.streaming.refreshing import Refresher
from tests.pipelines.streaming.reading import until
from tests.pipelines.streaming.test_parsing import QUEUE


@pytest.fixture
def store(tmp_path: Path) -> ClassifierStore:
    found = ClassifierStore(str(tmp_path / "classifiers"))
    found.save("tickets", Classifier(("billing", "sales")))
    return found


def refresher_of(job: Job) -> Refresher:
    return Refresher(job.requests, job.classifiers, job.refresh)


def job_of(folder: Path, **more: Any) -> Job:
    document = {"source": QUEUE, "classifier": "tickets", "output": {"path": "out"}, **more}
    return parse_job(document, folder / "job.yaml")


def classifier_of(refresher: Refresher, **fields: Any) -> str:
    [found] = refresher.requests.parse({"text": ["hello"], **{name: [value] for name, value in fields.items()}}, ["1"])
    assert isinstance(found, Record), found
    return found.classifier.name


def test_new_versions_are_followed(tmp_path: Path, store: ClassifierStore) -> None:
    refresher = refresher_of(job_of(tmp_path, refresh="20ms"))
    refresher.start()
    assert classifier_of(refresher) == "tickets@v1"
    store.save("tickets", Classifier(("billing", "sales", "other")))
    store.save("new", Classifier(("a", "b")))
    until(lambda: classifier_of(refresher) == "tickets@v2")
    assert classifier_of(refresher, classifier="tickets@v1") == "tickets@v1"
    until(lambda: "new" in refresher._saved.versions)
    assert classifier_of(refresher, classifier="new") == "new@v1"
    refresher.close()


def test_a_job_that_was_loaded_long_ago_looks_at_once(tmp_path: Path, store: ClassifierStore) -> None:
    refresher = refresher_of(job_of(tmp_path, refresh="1h"))
    store.save("tickets", Classifier(("billing", "other")))
    refresher.start()
    until(lambda: classifier_of(refresher) == "tickets@v2")
    refresher.close()


def test_a_pinned_version_stays(tmp_path: Path, store: ClassifierStore) -> None:
    refresher = refresher_of(job_of(tmp_path, classifier="tickets@v1"))
    store.save("tickets", Classifier(("other", "labels")))
    refresher.refresh()
    assert classifier_of(refresher) == "tickets@v1"


def test_what_can_not_be_loaded_is_left_out(
    tmp_path: Path, store: ClassifierStore, caplog: pytest.LogCaptureFixture
) -> None:
    refresher = refresher_of(job_of(tmp_path))
    (tmp_path / "classifiers" / "tickets@v2.yaml").write_text("labels: [cut")
    (tmp_path / "classifiers" / "odd@v1.yaml").write_text("no classifier")
    with caplog.at_level(logging.WARNING):
        refresher.refresh()
    assert classifier_of(refresher) == "tickets@v1"
    assert "tickets@v2 is left out" in caplog.text and "odd@v1 is left out" in caplog.text
    (tmp_path / "classifiers" / "tickets@v3.yaml").write_text("labels: [a, b]\n")
    refresher.refresh()
    assert classifier_of(refresher) == "tickets@v3"


def test_a_version_that_the_job_contradicts_is_not_taken(
    tmp_path: Path, store: ClassifierStore, caplog: pytest.LogCaptureFixture
) -> None:
    refresher = refresher_of(job_of(tmp_path, descriptions={"billing": "invoices"}))
    store.save("tickets", Classifier(("no", "such", "label")))
    with caplog.at_level(logging.WARNING):
        refresher.refresh()
    assert "billing" in caplog.text
    store.save("tickets", Classifier(("billing", "again")))
    refresher.refresh()
    [found] = refresher.requests.parse({"text": ["hello"]}, ["1"])
    assert isinstance(found, Record) and set(found.classifier.labels) == {"billing", "again"}


def test_a_store_that_is_down_leaves_all_as_it_is(
    tmp_path: Path, store: ClassifierStore, caplog: pytest.LogCaptureFixture
) -> None:
    refresher = refresher_of(job_of(tmp_path))
    shutil.rmtree(tmp_path / "classifiers")
    (tmp_path / "classifiers").write_text("a file where the folder was")
    with caplog.at_level(logging.WARNING):
        refresher.refresh()
    assert classifier_of(refresher) == "tickets@v1"
    (tmp_path / "classifiers").unlink()
    refresher.refresh()  # an empty store is taken for one that is down: its versions don't go
    assert classifier_of(refresher) == "tickets@v1"
