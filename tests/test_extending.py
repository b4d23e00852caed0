"""docs/extending.md holds: its source is one file and one line, and runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
TICKETS = [
    {"ticket": "t1", "body": "I was charged twice, please refund the invoice.", "priority": 1},
    {"ticket": "t2", "body": "The app crashes when I open the settings.", "priority": 2},
]


def block(language: str) -> str:
    [text] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


def with_added_lines(text: str, diff: str) -> str:
    """Return a text with the `+` lines of a diff, each after the line that is before it in the diff."""
    before = ""
    for line in diff.splitlines():
        if line.startswith("+"):
            assert text.count(f"{before}\n") == 1, before
            text = text.replace(f"{before}\n", f"{before}\n{line[1:]}\n")
        before = line[1:]
    return text


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The packages, with the source of the page among them."""
    for name in ("pipelines", "runners"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "classer_core").symlink_to(ROOT / "classer_core")
    (tmp_path / "pipelines" / "sources" / "arrow.py").write_text(block("python"))
    kinds = tmp_path / "pipelines" / "job" / "kinds.py"
    kinds.write_text(with_added_lines(kinds.read_text(), block("diff")))
    return tmp_path


def classer(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runners.cli", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


@pytest.mark.integration
def test_the_source_of_the_page_runs(project: Path) -> None:
    (project / "tickets").mkdir()
    table = pa.Table.from_pylist(TICKETS)
    with pa.ipc.new_file(project / "tickets" / "good.arrow", table.schema) as file:
        file.write_table(table)
    whole = (project / "tickets" / "good.arrow").read_bytes()
    (project / "tickets" / "torn.arrow").write_bytes(whole[:-20])
    (project / "job.yaml").write_text(block("yaml"))
    checked = classer(project, "check", "job.yaml")
    assert checked.returncode == 0, checked.stderr
    done = classer(project, "run", "job.yaml")
    assert done.returncode == 0, done.stderr
    rows = ds.dataset(project / "out", format="parquet").to_table().to_pylist()
    answers = {row["id"]: (row["label"], row["priority"]) for row in rows}
    assert answers == {"t1": ("billing", 1), "t2": ("technical", 2)}
    [failure] = ds.dataset(project / "out-failures", format="parquet").to_table().to_pylist()
    assert (failure["id"], failure["code"]) == ("tickets/torn.arrow", "file_unreadable")


def test_its_keys_are_checked_like_all_others(project: Path) -> None:
    (project / "job.yaml").write_text(block("yaml").replace("path:", "pth:"))
    done = classer(project, "check", "job.yaml")
    assert done.returncode == 2
    assert "source.pth" in done.stderr and "Did you mean 'path'?" in done.stderr
