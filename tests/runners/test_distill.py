"""`classer tune --teacher` on real models: the embedded one learns, and the report says what it is worth."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import tiny_models as tiny
from tests.classer_core.models.test_cross_encoders import make_finetuned
from tests.runners.test_certify import ROWS, job, run

EMBEDDED = ["--set", "model=embedded"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"finetuned:{make_finetuned(tmp_path_factory.mktemp('teacher'), list(tiny.TOPICS))}"


@pytest.mark.integration  # three whole runs
def test_a_teacher_teaches(tmp_path: Path, teacher: str) -> None:
    path = job(tmp_path, teacher)
    code, shown = run("run", path, *EMBEDDED)
    assert code == 0, shown
    before = share_right(tmp_path)
    gold = tmp_path / "gold.csv"
    gold.write_text("text,label\n" + "".join(f"{text},{topic}\n" for text, topic in tiny.texts(60, seed=8)))
    rows = ["--teacher-rows", "250", "--gold", str(gold)]
    code, shown = run("tune", path, "--save", "taught", "--teacher", teacher, *rows, *EMBEDDED)
    assert code == 0, shown
    assert "250 of them labelled by the teacher" in shown and "saved taught@v1" in shown
    assert "right on gold rows" in shown and "a million rows, teacher" in shown
    code, shown = run("run", path, *EMBEDDED, "--set", "labels=null", "--set", "classifier=taught")
    assert code == 0, shown
    assert share_right(tmp_path) > max(before, 0.9)


@pytest.mark.integration
def test_a_teacher_that_is_worse_is_refused(tmp_path: Path) -> None:
    """Its labels are swapped: the embedded model would agree with it, and be wrong."""
    swapped = make_finetuned(tmp_path / "swapped", ["metal", "fruit", "music", "weather"])
    path = job(tmp_path, f"finetuned:{swapped}")
    arguments = ["--teacher", f"finetuned:{swapped}", "--gold", str(tmp_path / "gold.csv")]
    (tmp_path / "gold.csv").write_text(
        "text,label\n" + "".join(f"{text},{topic}\n" for text, topic in tiny.texts(60, seed=8))
    )
    code, shown = run("tune", path, "--save", "taught", *arguments, *EMBEDDED)
    assert code == 4, shown
    assert "not saved: " in shown and not (tmp_path / "classifiers").exists()


@pytest.mark.parametrize("teacher", ["nokind:a", "{id: 'openai:m@http://localhost/v1', api_key: sk-secret}", "{id: [}"])
def test_what_is_not_a_teacher(teacher: str, tmp_path: Path) -> None:
    path = job(tmp_path, "embedded")
    code, shown = run("tune", path, "--save", "taught", "--teacher", teacher, *EMBEDDED)
    assert code == 2 and "--teacher" in shown
    assert "sk-secret" not in shown


def share_right(folder: Path) -> float:
    right = dict(ROWS)
    rows = pq.read_table(folder / "out").to_pylist()
    return sum(row["label"] == right[row["text"]] for row in rows) / len(rows)
