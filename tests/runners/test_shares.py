"""`classer shares`: from a job's output and gold rows to shares with intervals."""

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from classer_core.errors import JobError
from pipelines.job import Job, load_job
from runners.cli import app
from runners.local import run_job
from runners.shares import shares_of
from tests.fakes import load

LABELS = ["billing", "technical"]


def job(folder: Path, texts: list[str], **more: Any) -> Job:
    lines = [json.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts)]
    (folder / "rows.ndjson").write_text("\n".join(lines))
    source = {"format": "ndjson", "path": "rows.ndjson"}
    document = {"source": source, "labels": LABELS, "output": {"path": "out"}, "cache": "none", **more}
    (folder / "job.yaml").write_text(json.dumps(document))
    return load_job(folder / "job.yaml")


def gold(folder: Path, right: dict[int, Any], **weights: float) -> str:
    rows = [{"id": str(n), "label": label} for n, label in right.items()]
    rows = [row | ({"weight": weights[row["label"]]} if weights else {}) for row in rows]
    (folder / "gold.ndjson").write_text("\n".join(map(json.dumps, rows)))
    return str(folder / "gold.ndjson")


def test_mistakes_are_corrected(tmp_path: Path) -> None:
    """Of 400 texts 300 say billing; a third of those are technical, as 120 gold rows know."""
    asked = job(tmp_path, ["billing"] * 300 + ["technical"] * 100)
    run_job(asked, tmp_path, load=load)
    right = {n: "technical" if n >= 300 or n % 3 == 0 else "billing" for n in random.Random(1).sample(range(400), 120)}
    found = shares_of(asked, str(tmp_path), gold(tmp_path, right))
    assert (found.rows, found.gold) == (400, 120)
    by_label = {item.label: item for item in found.shares}
    assert by_label["billing"].counted == 0.75
    assert by_label["billing"].low < 0.5 < by_label["billing"].high < 0.75
    assert sum(item.share for item in found.shares) == pytest.approx(1)
    weighted = shares_of(
        asked, str(tmp_path), gold(tmp_path, right, billing=2.0, technical=1.0), weight_column="weight"
    )
    assert {item.label: item.gold for item in weighted.shares}["billing"] > by_label["billing"].gold


def test_several_labels_a_row_have_shares_of_their_own(tmp_path: Path) -> None:
    asked = job(tmp_path, ["billing technical"] * 30 + ["billing"] * 30, mode="multi")
    run_job(asked, tmp_path, load=load)
    right = {n: ["billing", "technical"] if n < 30 else ["billing"] for n in range(60)}
    found = shares_of(asked, str(tmp_path), gold(tmp_path, right))
    assert {item.label: round(item.share, 3) for item in found.shares} == {"billing": 1.0, "technical": 0.5}
    assert all(item.error == 0 for item in found.shares), "every row is a gold row"


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    asked = job(tmp_path, ["billing"] * 30)
    right = dict.fromkeys(range(30), "billing")
    with pytest.raises(JobError, match="has no rows that can be read back"):
        shares_of(asked, str(tmp_path), gold(tmp_path, right))
    run_job(asked, tmp_path, load=load)
    with pytest.raises(JobError, match="5 of 25 gold rows are in"):
        shares_of(asked, str(tmp_path), gold(tmp_path, dict.fromkeys(range(25, 50), "billing")))
    with pytest.raises(JobError, match=r"--weight-column.*is not a column"):
        shares_of(asked, str(tmp_path), gold(tmp_path, right), weight_column="weight")
    with pytest.raises(JobError, match="is not a weight"):
        shares_of(asked, str(tmp_path), gold(tmp_path, right, billing=-1), weight_column="weight")


def test_the_command_prints_a_table_or_json(tmp_path: Path) -> None:
    run_job(job(tmp_path, ["billing"] * 30 + ["technical"] * 10), tmp_path, load=load)
    path = gold(tmp_path, {n: "billing" if n < 30 else "technical" for n in range(5, 40)})
    args = ["shares", str(tmp_path / "job.yaml"), "--gold", path]
    table = CliRunner().invoke(app, args)
    assert table.exit_code == 0 and "of 40 rows, by 35 gold rows" in table.output, table.output
    found = json.loads(CliRunner().invoke(app, [*args, "--json"]).output)
    assert found["gold"] == 35 and found["shares"][0]["label"] == "billing"
    assert found["shares"][0]["low"] <= 0.75 <= found["shares"][0]["high"]


@pytest.mark.integration
@pytest.mark.skipif("CLASSER_CORPUS" not in os.environ, reason="CLASSER_CORPUS names no folder")
@pytest.mark.parametrize("name", ["ag_news", "snips", "sms_spam"])
def test_intervals_of_real_answers_hold_the_truth(tmp_path: Path, name: str) -> None:
    """1,000 draws of 100 gold rows from all that a real model has answered; compared with the gold rows alone."""
    from classer_core.reports.shares import estimate_shares

    corpus = Path(os.environ["CLASSER_CORPUS"]) / "text" / name
    rows = [json.loads(line) for line in (corpus / "test.jsonl").read_text().splitlines()]
    labels = sorted({row["label"] for row in rows})
    asked = job(tmp_path, [row["text"] for row in rows], labels=labels, scores="all")
    run_job(asked, tmp_path)
    answers = sorted(pq.read_table(tmp_path / "out").to_pylist(), key=lambda row: int(row["id"]))
    right = np.array([[float(rows[int(answer["id"])]["label"] == label) for label in labels] for answer in answers])
    said = np.full(right.shape, 0.0)
    for at, answer in enumerate(answers):
        said[at] = (1 - answer["confidence"]) / (len(labels) - 1)
        said[at, labels.index(answer["label"])] = answer["confidence"]
    counted, truth, held, widths = np.zeros(len(labels)), right.mean(axis=0), [], []
    for seed in range(1_000):
        drawn = np.random.default_rng(seed).choice(len(right), 100, replace=False)
        for item in estimate_shares(labels, right[drawn], said[drawn], said.mean(axis=0), counted, len(right)):
            held.append(item.low <= truth[labels.index(item.label)] <= item.high)
            widths.append(item.error / item.gold_error)
    print(name, f"held {np.mean(held):.3f}, width {np.mean(widths):.2f} of the gold rows alone")
    assert np.mean(held) >= 0.93
