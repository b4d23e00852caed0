"""What a report says of rows, and its page: hostile rows stay text, and nothing in it reaches elsewhere."""

import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from classer_core.reports import Gatherer, RunReport, render_page
from classer_core.reports.drift import compared
from classer_core.reports.gather import GATHERED_SCHEMA
from tests.classer_core.evaluation.test_page import ATTACK


def row(number: int, **more: Any) -> dict[str, Any]:
    result = {"id": str(number), "label": "a", "labels": None, "confidence": 0.5, "abstained": False, "tokens": 10}
    return {**result, "latency_ms": 1.0, "cached": False, "classifier": "c", "model": "m", "coverage": 1.0, **more}


def gathered(rows: list[dict[str, Any]], redact: bool = False) -> Gatherer:
    gatherer = Gatherer(redact)
    for start in range(0, len(rows), 100):
        gatherer.add(pa.RecordBatch.from_pylist(rows[start : start + 100], schema=GATHERED_SCHEMA))
    return gatherer


def drawn(seed: int, rows: int = 2_000, first: float = 0.5) -> list[dict[str, Any]]:
    draw = np.random.default_rng(seed)
    labels = draw.choice(["a", "b", "c"], rows, p=[first, 0.8 - first, 0.2]).tolist()
    sure = draw.beta(6, 2, rows).round(4).tolist()
    return [row(n, label=label, confidence=at) for n, (label, at) in enumerate(zip(labels, sure, strict=True))]


def hostile(labels: int = 3) -> RunReport:
    """A report with an attack in every text, of these many labels and failures."""
    rows = [row(n, id=ATTACK, label=f"{ATTACK} {n % labels}", text=ATTACK, evidence=ATTACK) for n in range(60)]
    rows = [item | {"classifier": ATTACK, "model": ATTACK} for item in rows]
    gatherer = gathered(rows)
    failure = {"id": ATTACK, "code": "text_empty", "message": ATTACK, "record": ATTACK}
    gatherer.add_failures(pa.RecordBatch.from_pylist([failure]))
    return compared(gatherer.report(ATTACK), gathered(rows[:9]).report(ATTACK))


def test_rows_are_added_up() -> None:
    rows = [
        row(1, confidence=0.9, text="a  long\ntext"),
        row(2, label="b", confidence=0.3, cached=True, latency_ms=70.0),
        row(3, label=None, abstained=True, confidence=0.2, coverage=0.5, evidence="page 3"),
        row(
            4, label=None, labels=[{"label": "a", "confidence": 0.8}, {"label": "b", "confidence": 0.7}], confidence=0.8
        ),
        row(5, label=None, labels=[], confidence=None),
    ]
    found = gathered(rows).report("out", price=2.0, currency="EUR")
    assert (found.rows, found.abstained, found.cached, found.tokens, found.partly_read) == (5, 1, 1, 40, 1)
    assert found.confidence == pytest.approx(0.55) and found.cost == pytest.approx(80e-6)
    labels = {item.label: (item.count, item.share) for item in found.labels}
    assert labels == {"a": (2, 0.4), "b": (2, 0.4), None: (2, 0.4)}
    assert next(item.confidence for item in found.labels if item.label == "a") == pytest.approx(0.85)
    assert [item.id for item in found.unsure] == ["3", "2", "4", "1"]
    assert found.unsure[-1].text == "a long text" and found.unsure[2].label == "a, b"
    assert found.slowest[0].id == "2" and found.evidence == [("page 3", 1)]
    assert sum(found.histogram) == 4 and found.histogram[18] == 1
    assert json.loads(found.to_json())["labels"][0]["share"] == 0.4


def test_the_least_sure_rows_are_the_same_whatever_the_batches() -> None:
    rows = drawn(1)
    unsure = gathered(rows).report("out").unsure
    assert [item.confidence for item in unsure] == sorted(item["confidence"] for item in rows)[:25]


def test_drift_is_told_from_chance() -> None:
    before = gathered(drawn(1)).report("before")
    moved = [compared(gathered(drawn(seed)).report("now"), before) for seed in range(2, 32)]
    assert sum(any(item.moved for item in report.labels + report.changes) for report in moved) == 0
    changed = compared(gathered(drawn(40, first=0.6)).report("now"), before)
    assert {item.label for item in changed.labels if item.moved} == {"a", "b"}
    gone = compared(gathered([item | {"label": "a"} for item in drawn(2)]).report("now"), before)
    assert {item.label: item.count for item in gone.labels}["b"] == 0


def test_a_page_stands_alone() -> None:
    page = render_page(compared(gathered(drawn(1)).report("now"), gathered(drawn(2)).report("before")))
    assert "default-src 'none'" in page and "before" in page
    assert not re.search(r"(src|href|url|@import|http)\s*[=(:]", page)
    assert page.count('class="chart spark"') == 3


def test_hostile_texts_stay_text() -> None:
    page = render_page(hostile())
    assert "<script" not in page and "<img" not in page
    assert page.count("&lt;script&gt;") > 20
    assert page.count("</title>") == page.count("<title>")


def test_redaction_hides_every_text() -> None:
    gatherer = gathered([row(1, text="secret text")], redact=True)
    failure = {"id": "7", "code": "text_empty", "message": "secret message", "record": "secret record"}
    gatherer.add_failures(pa.RecordBatch.from_pylist([failure]))
    report = gatherer.report("out")
    assert "secret" not in render_page(report) and b"secret" not in report.to_json()
    assert "(hidden)" in render_page(report)
