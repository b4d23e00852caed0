"""`classer suggest labels`: groups of texts with names of their own words."""

import json
import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from classer_core.models.loading import load_model
from classer_core.models.sentence_embedding import EmbeddingModel
from classer_core.suggesting import suggest_labels
from runners.cli import app

WORDS = {
    "cooking": ["onions", "oven", "butter", "recipe", "garlic"],
    "football": ["striker", "penalty", "goal", "referee", "league"],
    "bank": ["loan", "mortgage", "interest", "savings", "deposit"],
}


def texts(count: int) -> list[str]:
    draw = random.Random(1)
    kinds = draw.choices(list(WORDS), [0.5, 0.3, 0.2], k=count)
    return [", ".join(draw.sample(WORDS[kind], 3)) + " and more" for kind in kinds]


def test_groups_are_found_and_named_by_their_own_words() -> None:
    given = texts(300)
    counts = [[sum(word in text for word in named) for named in WORDS.values()] for text in given]
    vectors = np.array(counts, np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, (300, 5)).astype(np.float32)
    found = suggest_labels(given, np.hstack([vectors, noise]))
    assert len(found) == 3 and found == suggest_labels(given, np.hstack([vectors, noise]))
    for item, named in zip(found, WORDS.values(), strict=True):
        assert set(item.label.split(" / ")) <= set(named)
    assert 0.4 < found[0].share < 0.6 and sum(item.share for item in found) == pytest.approx(1)
    assert all(any(word in text for word in WORDS["cooking"]) for text in found[0].examples)
    with pytest.raises(ValueError, match="at least 50 texts, got 10"):
        suggest_labels(given[:10], vectors[:10])


def test_the_command_prints_a_job_to_begin_with(tmp_path: Path) -> None:
    (tmp_path / "rows.ndjson").write_text("\n".join(json.dumps({"text": text}) for text in texts(120)))
    source = {"format": "ndjson", "path": "rows.ndjson"}
    (tmp_path / "job.yaml").write_text(json.dumps({"source": source, "output": {"path": "out"}}))
    done = CliRunner().invoke(app, ["suggest", "labels", str(tmp_path / "job.yaml"), "--count", "3"])
    assert done.exit_code == 0, done.output
    found = yaml.safe_load(done.stdout)
    assert len(found["labels"]) == 3 and found["descriptions"].keys() == set(found["labels"])
    named = {word for label in found["labels"] for word in label.split(" / ")}
    assert all(named & set(words) for words in WORDS.values()), found["labels"]
    few = CliRunner().invoke(app, ["suggest", "labels", str(tmp_path / "job.yaml"), "--set", "source.path=*.yaml"])
    assert few.exit_code == 2


@pytest.mark.integration
@pytest.mark.skipif("CLASSER_CORPUS" not in os.environ, reason="CLASSER_CORPUS names no folder")
@pytest.mark.parametrize(("name", "least"), [("snips", 0.7), ("ag_news", 0.6)])
def test_groups_of_real_texts_are_mostly_of_one_label(name: str, least: float) -> None:
    """Purity: the share of texts that have the most frequent right label of their group."""
    file = Path(os.environ["CLASSER_CORPUS"]) / "text" / name / "test.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()][:600]
    model = load_model("embedded")
    assert isinstance(model, EmbeddingModel)
    given = [row["text"] for row in rows]
    right = {text: row["label"] for text, row in zip(given, rows, strict=True)}
    vectors = model.embed(given)
    for count in (None, len(set(right.values()))):
        pure = []
        for item in suggest_labels(given, vectors, count):
            # Examples stand in the middle of their group: they show what it is of.
            of = Counter(label for text, label in right.items() if " ".join(text.split())[:200] in item.examples)
            print(name, count, item.label, round(item.share, 2), dict(of))
            pure.append(max(of.values()) / sum(of.values()))
        assert sum(pure) / len(pure) >= least
