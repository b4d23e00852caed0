"""The commands about saved classifiers, and jobs that name them."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from classer_core.cached import CachedEngine
from pipelines.job import load_job
from runners.cli import app
from runners.local import run_job
from tests.fakes import load

LABELS = ["billing", "sales"]


def classer(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "160"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = ["billing question", "sales question", "sales and billing billing", "other sales"]
    (tmp_path / "a.ndjson").write_text(
        "".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(texts))
    )
    (tmp_path / "first.yaml").write_text("labels: [sales, billing]\ntext_type: ticket\n")
    (tmp_path / "second.yaml").write_text("labels: [sales, other]\ntext_type: ticket\n")
    for name in ("first", "second"):
        assert (
            classer(
                "classifiers", "save", "tickets", tmp_path / f"{name}.yaml", "--in", tmp_path / "classifiers"
            ).exit_code
            == 0
        )
    return tmp_path


def job(folder: Path, **changes: Any) -> Path:
    document = {
        "source": {"format": "ndjson", "path": "a.ndjson"},
        "output": {"path": "out"},
        "cache": "none",
        **changes,
    }
    (folder / "job.yaml").write_text(json.dumps(document))
    return folder / "job.yaml"


def test_saved_listed_shown_compared(folder: Path) -> None:
    where = ("--in", folder / "classifiers")
    again = classer("classifiers", "save", "tickets", folder / "second.yaml", *where)
    assert (again.exit_code, again.output) == (0, "tickets@v2\n")
    assert classer("classifiers", "list", *where).output.split() == ["name", "newest", "versions", "tickets", "v2", "2"]
    shown = classer("classifiers", "show", "tickets@v1", *where).output
    assert shown.startswith("# tickets@v1\nlabels:\n- billing\n- sales\n")
    changed = classer("classifiers", "diff", "tickets@v1", "tickets", *where).output
    assert "--- tickets@v1\n+++ tickets@v2\n" in changed and "\n-- billing\n" in changed and "\n+- other\n" in changed


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("show", "ticket"), "it has tickets"),
        (("show", "tickets@v3"), "tickets has v1, v2"),
        (("diff", "tickets@v1", "../x"), "got '../x'"),
        (("save", "Tickets", "first.yaml"), "got 'Tickets'"),
        (("save", "tickets", "wrong.yaml"), "Labels must be unique"),
    ],
)
def test_wrong_names_exit_2_and_list_what_there_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "wrong.yaml").write_text("labels: [a, a]\n")
    done = classer("classifiers", *args)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_a_job_writes_the_full_name_into_every_row(folder: Path) -> None:
    run_job(load_job(job(folder, classifier="tickets")), folder, load=load)
    rows = pq.read_table(folder / "out").to_pylist()
    assert {row["classifier"] for row in rows} == {"tickets@v2"}
    assert {row["label"] for row in rows} <= {"sales", "other"}
    wrong = classer("check", job(folder, classifier="tickets@v9"))
    assert wrong.exit_code == 2
    assert "job.yaml: classifier = 'tickets@v9': there is no tickets@v9" in " ".join(wrong.stderr.split())
    both = classer("check", job(folder, classifier="tickets", labels=LABELS))
    assert both.exit_code == 2 and "are both given" in " ".join(both.stderr.split())


def test_a_password_in_a_wrong_cache_is_not_shown(folder: Path) -> None:
    wrong = classer("check", job(folder, labels=LABELS, cache="rediss://me:hunter2@host/0?ttl=7"))
    assert wrong.exit_code == 2
    assert "job.yaml: cache" in wrong.stderr and "ttl: unknown setting of a cache" in " ".join(wrong.stderr.split())
    override = classer("check", job(folder, labels=LABELS), "--set", "cache=[redis://:hunter2@host")
    assert override.exit_code == 2
    assert "hunter2" not in wrong.output + override.output


def test_compare_shows_agreement_confusion_and_what_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classer_core.cached.load_cached_engine", lambda *_: CachedEngine(load()))
    done = classer("compare", job(folder, classifier="tickets@v1"), "--with", "tickets")
    assert done.exit_code == 0, done.output
    shown = " ".join(done.output.split())
    assert "25.0% of 4 records get the same answer; 3 change" in shown
    assert "tickets@v1 tickets@v2 records" in shown
    pairs = ["billing other 1", "billing sales 1", "sales other 1", "sales sales 1"]
    assert f"tickets@v1 tickets@v2 records {' '.join(pairs)}" in shown
    assert "2 sales and billing billing billing 1.00 sales 1.00" in shown
    unknown = classer("compare", job(folder, labels=LABELS), "--with", "nothing")
    assert unknown.exit_code == 2 and "it has tickets" in " ".join(unknown.stderr.split())


def test_the_cache_says_what_it_holds(folder: Path, cache_dir: Path) -> None:
    assert "answers 0" in " ".join(classer("cache").output.split())
    run_job(load_job(job(folder, labels=LABELS, cache=True)), folder, load=load)
    shown = " ".join(classer("cache").output.split())
    assert "answers 4 " in shown and "answers.sqlite" in shown and "UTC" in shown
    (cache_dir / "answers.sqlite").write_bytes(b"no database at all" * 100)
    damaged = classer("cache")
    assert damaged.exit_code == 1 and "Delete it" in " ".join(damaged.stderr.split())
