"""docs/models.md holds: its kind of model is one file and one line, and classifies."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_extending import with_added_lines

ROOT = Path(__file__).parents[3]
WEIGHTS = {"billing": {"invoice": 2.0, "refund": 3.0}, "technical": {"crashes": 3.0, "login": 2.0}}
TEXTS = ["Please refund the invoice", "The app crashes", "no word " * 6_000 + "login"]


def block(language: str) -> str:
    page = (ROOT / "docs" / "models.md").read_text()
    [text] = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return str(text)


@pytest.mark.integration  # two processes that start from nothing
def test_the_kind_of_the_page_classifies(tmp_path: Path) -> None:
    for name in ("classer_core", "pipelines", "runners"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "training"))
    (tmp_path / "classer_core" / "models" / "lexicon.py").write_text(block("python"))
    registry = tmp_path / "classer_core" / "models" / "registry.py"
    registry.write_text(with_added_lines(registry.read_text(), block("diff")))
    (tmp_path / "words.json").write_text(json.dumps(WEIGHTS))

    def classify(model: str, *texts: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "runners.cli", "classify", "--json", "--labels", "billing,technical"]
        command += ["--model", model, *texts]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = classify("lexicon:words.json", *TEXTS)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["label"] for row in rows] == ["billing", "technical", "technical"]
    assert rows[0]["confidence"] > 0.99 and rows[2]["tokens"] == 12_001
    assert all(row["model"].startswith("lexicon:words.json@") for row in rows)
    missing = classify("lexicon:no.json", "text")
    assert missing.returncode == 2
    assert "model 'lexicon:no.json' can't be loaded: " in missing.stderr and "Give a JSON file" in missing.stderr
