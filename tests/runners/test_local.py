import io
from pathlib import Path

from rich.console import Console

from pipelines.job import parse_job
from runners import local
from tests.fakes import load


def test_a_terminal_gets_a_progress_bar(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"text": "billing"}\n' * 5_000)
    document = {"source": {"format": "ndjson", "path": "a.ndjson"}, "labels": ["billing"], "output": {"path": "out"}}
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100)
    summary = local.run_job(parse_job(document, tmp_path / "job.yaml"), tmp_path, console=console, load=load)
    assert summary.results == 5_000
    assert "records" in shown.getvalue()


def test_runs_have_names_of_their_own() -> None:
    assert len({local.run_name() for _ in range(50)}) == 50
    assert local.run_name().replace("_", "").isalnum()
