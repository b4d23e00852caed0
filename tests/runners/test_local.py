import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.job import parse_job
from runners import local, progress
from tests.fakes import load


def test_a_terminal_gets_a_progress_bar(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"text": "billing"}\n' * 5_000)
    document = {"source": {"format": "ndjson", "path": "a.ndjson"}, "labels": ["billing"], "output": {"path": "out"}}
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100)
    summary = local.run_job(parse_job(document, tmp_path / "job.yaml"), tmp_path, console=console, load=load)
    assert summary.results == 5_000
    assert "records" in shown.getvalue()


def test_a_log_gets_a_line_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_S", 0.02)
    (tmp_path / "a.ndjson").write_text('{"text": "billing"}\n' * 5_000)
    document = {"source": {"format": "ndjson", "path": "a.ndjson"}, "labels": ["billing"], "output": {"path": "out"}}
    shown = io.StringIO()
    local.run_job(parse_job(document, tmp_path / "job.yaml"), tmp_path, console=Console(file=shown), load=load)
    lines = shown.getvalue().splitlines()
    assert len(lines) > 1 and all(
        re.fullmatch(r"[\d,]+( of [\d,]+)? records, [\d,]+ records/s", line) for line in lines
    )


def test_runs_have_names_of_their_own() -> None:
    assert len({local.run_name() for _ in range(50)}) == 50
    assert local.run_name().replace("_", "").isalnum()
