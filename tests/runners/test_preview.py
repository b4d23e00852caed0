"""`--preview`: the first rows of a finished run, wherever they went."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from runners import local, preview
from runners.cli import app
from tests import documents, fakes
from tests.servers.pubsub import PubSubEmulator

# The broker that Kafka's client library brings along.
KAFKA = {"format": "kafka", "bootstrap_servers": "x:1", "options": {"test.mock.num.brokers": 1}}


@pytest.fixture(autouse=True)
def fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    given = local.run_job
    monkeypatch.setattr(local, "run_job", lambda *args: given(*args, load=fakes.load))


def run(folder: Path, count: int, **more: Any) -> str:
    (folder / "a.ndjson").write_text("".join(f'{{"id": "r{n}", "text": "sales {n}"}}\n' for n in range(50)))
    source = {"format": "ndjson", "path": "a.ndjson"}
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump({"source": source, "labels": ["billing", "sales"], **more}))
    done = CliRunner().invoke(app, ["run", str(file), "--preview", str(count)])
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


def shown_ids(output: str) -> list[str]:
    return [line.split()[0] for line in output.splitlines() if line.startswith("r") and line[1:2].isdigit()]


def test_rows_of_a_topic_are_shown(tmp_path: Path) -> None:
    for count in (3, 7):  # a second run begins anew
        output = run(tmp_path, count, output={**KAFKA, "topic": "rows"}, failures={"path": "failures"})
        assert shown_ids(output) == [f"r{n}" for n in range(count)]
        assert "sales" in output and "1.00" in output


@pytest.mark.integration
def test_rows_of_a_pubsub_topic_are_shown(pubsub: PubSubEmulator, tmp_path: Path) -> None:
    output = {"format": "pubsub", "topic": pubsub.create_topic("previewed")}
    assert shown_ids(run(tmp_path, 3, output=output, failures={"path": "failures"})) == ["r0", "r1", "r2"]


def test_rows_of_a_streams_files_are_shown(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "r1.pdf").write_bytes(documents.pdf("sales"))
    source = {"format": "documents", "path": "inbox/*.pdf", "watch": "200ms", "stop_when_idle": "1s"}
    output = run(tmp_path, 3, source=source, output={"path": "out"})
    assert "inbox/r1.pdf" in output and "sales" in output


def test_a_finished_run_does_not_fail_for_its_preview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise OSError("the storage is down")

    monkeypatch.setattr(preview, "first_rows", broken)
    output = run(tmp_path, 3, output={"path": "out"})
    assert "No preview: the rows can't be read: OSError" in output and "tokens read" in output


def test_nobody_keeps_rows_that_nobody_wants(tmp_path: Path) -> None:
    from pipelines import shown

    run(tmp_path, 0, output={**KAFKA, "topic": "rows"}, failures={"path": "failures"})
    assert shown.first() == []
