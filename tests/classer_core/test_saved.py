"""Saved classifiers: versions that never change, whoever writes them."""

import multiprocessing
from pathlib import Path

import pytest

from classer_core import Classifier, RecordError
from classer_core.requests import RequestParser
from classer_core.saved import ClassifierStore, from_yaml

FIRST = Classifier.of(
    ["refund", "praise"],
    {"refund": "wants money\nback: “now”"},
    {"praise": ["great!", "- good"]},
    "review",
    "multi",
    0.3,
)
SECOND = Classifier.of(["refund", "praise", "other"])


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ClassifierStore:
    return ClassifierStore(str(tmp_path / "saved") if request.param == "local" else f"memory://{tmp_path.name}")


def test_versions_are_made_and_never_changed(store: ClassifierStore) -> None:
    assert store.list().versions == {}
    assert store.save("reviews", FIRST).name == "reviews@v1"
    reordered = Classifier.of(
        ["praise", "refund"], *[dict(x) for x in (FIRST.descriptions, FIRST.examples)], "review", "multi", 0.3
    )
    assert store.save("reviews", reordered).name == "reviews@v1"
    assert store.save("reviews", SECOND).name == "reviews@v2"
    assert store.save("reviews", FIRST).name == "reviews@v3"  # going back is a version too: `reviews` is the newest
    assert store.save("a-1", SECOND).name == "a-1@v1"
    saved = store.list()
    assert saved.versions == {"a-1": (1,), "reviews": (1, 2, 3)}
    assert saved.load("reviews") == FIRST == saved.load("reviews@v1")
    assert (saved.load("reviews").name, saved.load("reviews@v2").name) == ("reviews@v3", "reviews@v2")
    assert saved.load("reviews@v2") == SECOND


def test_what_is_not_there_is_answered_with_what_is(store: ClassifierStore) -> None:
    store.save("reviews", FIRST)
    store.save("tickets", SECOND)
    with pytest.raises(RecordError, match=r"no saved classifier 'review' in .*: it has reviews, tickets") as caught:
        store.list().load("review")
    assert (caught.value.code, caught.value.field) == ("classifier_invalid", "classifier")
    with pytest.raises(RecordError, match=r"no reviews@v2 in .*: reviews has v1"):
        store.list().load("reviews@v2")


@pytest.mark.parametrize(
    "name",
    ["", "../up", "a/b", "/etc/passwd", "Upper", ".hidden", "a@v0", "a@", "a@v1.yaml", "a b", "a\n", "ä", "x" * 65, 7],
)
def test_names_are_no_paths(tmp_path: Path, name: str) -> None:
    store = ClassifierStore(str(tmp_path))
    with pytest.raises(RecordError, match="a saved classifier must be `name` or `name@vN`"):
        store.save(name, FIRST)
    with pytest.raises(RecordError, match="a saved classifier must be `name` or `name@vN`"):
        store.list().load(name)
    assert list(tmp_path.iterdir()) == []


def test_versions_are_given_not_chosen(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="save 'reviews' instead of 'reviews@v9'"):
        ClassifierStore(str(tmp_path)).save("reviews@v9", FIRST)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "reviews@v1.yaml").write_text("labels: [a, a]\n")
    with pytest.raises(RecordError, match=r"reviews@v1 is not a saved classifier: .*Labels must be unique"):
        ClassifierStore(str(tmp_path)).list().load("reviews")


def _save(folder: str, writer: int) -> list[str]:
    store = ClassifierStore(folder)
    return [store.save("shared", Classifier.of([f"writer {writer}", f"turn {turn}"])).name for turn in range(10)]


def test_writers_at_once_never_make_the_same_version(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as processes:
        made = processes.starmap(_save, [(str(tmp_path), writer) for writer in range(4)])
    names = [name for writer in made for name in writer]
    assert sorted(names) == sorted(f"shared@v{version}" for version in range(1, 41))
    saved = ClassifierStore(str(tmp_path)).list()
    for writer, mine in enumerate(made):
        for turn, name in enumerate(mine):
            assert saved.load(name).labels == tuple(sorted([f"writer {writer}", f"turn {turn}"]))
    assert len(list(tmp_path.iterdir())) == 40


def test_records_and_jobs_name_them(tmp_path: Path) -> None:
    store = ClassifierStore(str(tmp_path))
    store.save("reviews", FIRST)
    parser = RequestParser({"labels": ["x"], "text_type": "note"}, saved=store.list())
    store.save("reviews", SECOND)  # after the run has begun: it goes on with what there was
    fields = {
        "text": ["t"] * 5,
        "classifier": ["reviews", "reviews@v1", None, "reviews", "nothing"],
        "labels": [None, None, None, ["own"], None],
        "threshold": [None, 0.7, None, None, None],
    }
    newest, other, job, both, unknown = parser.parse(fields, list("abcde"))
    assert not isinstance(newest, RecordError) and not isinstance(other, RecordError)
    assert newest.classifier == FIRST and newest.classifier.name == "reviews@v1"
    assert (other.classifier.threshold, other.classifier.name[:7]) == (0.7, "inline:")  # it is not what was saved
    assert not isinstance(job, RecordError) and job.classifier.labels == ("x",)
    assert isinstance(both, RecordError) and "are both given" in both.message
    assert isinstance(unknown, RecordError) and "it has reviews" in unknown.message
    named = RequestParser({"classifier": "reviews"}, saved=store.list())
    [mine, own] = named.parse({"text": ["t", "t"], "labels": [None, ["own"]]}, ["a", "b"])
    assert not isinstance(mine, RecordError) and mine.classifier.name == "reviews@v2"
    assert not isinstance(own, RecordError) and own.classifier.labels == ("own",)


@pytest.mark.parametrize(
    "text", ["- " * 2_000 + "x", "labels: [2026-99-99]", "labels: !!timestamp x", "7", "[a]", "\0"]
)
def test_a_file_of_anything_is_a_wrong_classifier(text: str) -> None:
    with pytest.raises(RecordError, match="tickets@v1 is not a saved classifier"):
        from_yaml(text, "tickets@v1")
