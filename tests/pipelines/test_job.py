"""Job files: right ones load, wrong ones name the place, the value and the remedy."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from classer_core import JobError
from pipelines.job import Job, load_job

GOOD: dict[str, Any] = {
    "source": {"format": "ndjson", "path": "tickets.ndjson", "columns": {"id": "ticket_id", "text": "body"}},
    "labels": ["billing", "technical"],
    "output": {"format": "parquet", "path": "out/tickets"},
}


def load(folder: Path, overrides: list[str] | None = None, **changes: Any) -> Job:
    (folder / "tickets.ndjson").write_text('{"body": "hello"}\n')
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **changes}))
    return load_job(file, overrides or [])


def problems(folder: Path, overrides: list[str] | None = None, **changes: Any) -> str:
    with pytest.raises(JobError) as caught:
        load(folder, overrides, **changes)
    return str(caught.value)


def test_paths_are_relative_to_the_job_file(tmp_path: Path) -> None:
    job = load(tmp_path)
    assert job.source.path == (str(tmp_path / "tickets.ndjson"),)
    assert job.output.path == str(tmp_path / "out/tickets")
    assert job.failures_output.path == str(tmp_path / "out/tickets-failures")


def test_urls_stay_as_they_are(tmp_path: Path) -> None:
    job = load(tmp_path, source={"format": "ndjson", "path": "gs://bucket/*.ndjson"}, failures="s3://other/failures")
    assert job.source.path == ("gs://bucket/*.ndjson",)
    assert job.failures_output.path == "s3://other/failures"


def test_overrides_set_dotted_keys(tmp_path: Path) -> None:
    job = load(tmp_path, ["output.path=elsewhere", "threshold=0.7", "labels=[a, b]"])
    assert job.output.path == str(tmp_path / "elsewhere")
    assert job.threshold == 0.7
    assert job.labels == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"min_confidence": 2}, ["min_confidence = 2", "less than or equal to 1"]),
        ({"fallback_label": "other"}, ["job.yaml: fallback_label = 'other'", "has no effect without min_confidence"]),
        ({"lables": ["a"]}, ["job.yaml: lables", "unknown key", "Did you mean 'labels'?"]),
        ({"source": {**GOOD["source"], "pth": "x"}}, ["source.pth", "Did you mean 'path'?"]),
        ({"source": {**GOOD["source"], "columns": {"txt": "body"}}}, ["'txt' is not a request field", "'text'"]),
        (
            {"source": {**GOOD["source"], "format": "xml"}},
            ["source.format = 'xml'", "is none of ndjson, csv, parquet, avro, orc, documents"],
        ),
        ({"source": {**GOOD["source"], "path": "no-such-*.gz"}}, ["source.path", "no-such-*.gz", "matches no file"]),
        ({"labels": None}, ["labels are missing", "record_fields: [labels]"]),
        ({"labels": ["a", "a"]}, ["job.yaml: labels", "Labels must be unique: 'a'"]),
        ({"labels": [str(n) for n in range(201)]}, ["1-200 labels, got 201"]),
        ({"descriptions": {"sales": "x"}}, ["job.yaml: descriptions", "'sales', which is not one of the labels"]),
        ({"threshold": 1.5}, ["job.yaml: threshold = 1.5", "less than or equal to 1"]),
        ({"priority": "urgent"}, ["job.yaml: priority = 'urgent'", "'standard' or 'fast'"]),
        ({"mode": "both"}, ["job.yaml: mode = 'both'"]),
        ({"max_failure_ratio": -1}, ["max_failure_ratio = -1"]),
        ({"failures": "out/tickets"}, ["failures", "same place as the output"]),
        ({"failures": {"path": "out/tickets/", "format": "ndjson"}}, ["failures", "same place as the output"]),
        ({"cache": "postgres://me:hunter2@host/x"}, ["cache = 'postgres://host/x'", "a cache must be sqlite:///path"]),
        ({"cache": 7}, ["job.yaml: cache", "= 7"]),
        ({"dedup": "all"}, ["dedup = 'all'", "'worker' or 'global'"]),
        ({"only": "new"}, ["only = 'new'", "'all' or 'stale'"]),
        (
            {"labels": None, "classifier": "nothing"},
            ["classifier = 'nothing'", "no saved classifier 'nothing'", "has none"],
        ),
        ({"output": {"format": "parquet"}}, ["output.path", "is missing"]),
    ],
)
def test_wrong_jobs_say_where_what_and_how_to_mend(
    tmp_path: Path, changes: dict[str, Any], expected: list[str]
) -> None:
    message = problems(tmp_path, **changes)
    for part in expected:
        assert part in message


def test_every_problem_is_listed(tmp_path: Path) -> None:
    message = problems(tmp_path, lables=["a"], priority="urgent", threshold=7)
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    ("override", "expected"),
    [("labels", "is not dotted.key=value"), ("model.x.y=1", "holds a value"), ("labels=[a", "is not YAML")],
)
def test_wrong_overrides(tmp_path: Path, override: str, expected: str) -> None:
    assert expected in problems(tmp_path, [override], model="embedded")


@pytest.mark.parametrize(("content", "expected"), [("a: [b", "is not YAML"), ("- a", "is not a mapping")])
def test_files_that_are_no_jobs(tmp_path: Path, content: str, expected: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(content)
    with pytest.raises(JobError, match=expected):
        load_job(file)


def test_missing_job_file(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="can't be read"):
        load_job(tmp_path / "none.yaml")


def test_only_id_and_text_are_taken_unasked(tmp_path: Path) -> None:
    job = load(tmp_path, source={"format": "ndjson", "path": "tickets.ndjson"})
    assert job.field_columns == {"id": "id", "text": "text"}


def test_fields_are_taken_that_are_mapped_or_named(tmp_path: Path) -> None:
    source = {"format": "ndjson", "path": "tickets.ndjson", "columns": {"text": "body", "labels": "tags"}}
    job = load(tmp_path, source=source, record_fields=["labels", "image"])
    assert job.field_columns == {"id": "id", "text": "body", "image": "image", "labels": "tags"}
    assert "record_fields" in problems(tmp_path, record_fields=["lables"])


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("sqlite:///answers.sqlite?ttl_days=7", "sqlite:///{folder}/answers.sqlite?ttl_days=7"),
        ("sqlite:////var/answers.sqlite", "sqlite:////var/answers.sqlite"),
        ("redis://host", "redis://host"),
        ("none", "none"),
        (False, False),
    ],
)
def test_a_cache_is_a_switch_or_a_place(tmp_path: Path, given: str | bool, meant: str | bool) -> None:
    job = load(tmp_path, cache=given)
    assert job.cache == (meant.format(folder=tmp_path) if isinstance(meant, str) else meant)
    assert job.request_defaults["cache"] is (given is not False)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"source": {"path": "tickets.ndjson"}}, ["source.format", "is missing"]),
        ({"source": {**GOOD["source"], "watch": "1s"}}, ["source", "watch is for format: documents"]),
        ({"output": {"path": "out", "topic": "t"}}, ["output.topic", "unknown key"]),
        ({"output": {"format": "pubsub", "topic": "projects/p/topics/t"}}, ["failures", "is missing"]),
        (
            {"output": {"format": "pubsub", "topic": "projects/p/topics/t"}, "failures": "bad", "only": "stale"},
            ["only = 'stale'", "needs an output whose rows can be read back"],
        ),
    ],
)
def test_sections_are_told_apart_by_their_format(tmp_path: Path, changes: dict[str, Any], expected: list[str]) -> None:
    message = problems(tmp_path, **changes)
    for part in expected:
        assert part in message


def test_a_topic_is_not_read_and_written(tmp_path: Path) -> None:
    kafka = {"format": "kafka", "bootstrap_servers": "localhost:9092", "topic": "tickets"}
    message = problems(tmp_path, source={**kafka, "group": "g"}, output=kafka, failures="bad")
    assert "output.topic = 'localhost:9092/tickets'" in message and "is the job's own source" in message
