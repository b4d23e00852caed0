"""The page, as text: hostile rows stay text, and nothing in it reaches elsewhere."""

import json
import re

import numpy as np
import pytest

from classer_core.evaluation import Predictions, Report, Rows, evaluate, render_page

ATTACK = "</title></svg></style><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def report(labels: int = 3, rows: int = 400, hostile: bool = False) -> Report:
    """A report like that of a classifier with these many labels; a hostile one has an attack in every text."""
    draw = np.random.default_rng(7)
    names = [f"{ATTACK if hostile else 'label '}{place}" for place in range(labels)]
    gold = draw.choice(names, rows).tolist()
    sure = np.round(draw.uniform(0.3, 1, rows), 4)
    said = [
        label if draw.random() < at else str(draw.choice(names)) for label, at in zip(gold, sure.tolist(), strict=True)
    ]
    text = ATTACK if hostile else "a text"
    about = Rows(job=text, gold=text, gold_rows=rows, without_gold=3, failed={"text_empty": 2}, models=[text])
    return evaluate(
        Predictions.single(names, gold, said, sure), about, [f"{text} {n}" for n in range(rows)], [text] * rows
    )


@pytest.mark.parametrize("labels", [2, 15, 200])
def test_a_page_stands_alone(labels: int) -> None:
    page = render_page(report(labels, rows=2_000))
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href|url|@import|http)\s*[=(:]", page)
    assert page.count('<tr><td class="name"><bdi>label') >= labels
    assert page.count('class="row-label"') == labels


def test_hostile_texts_stay_text() -> None:
    page = render_page(report(hostile=True))
    assert "<script" not in page and "<img" not in page
    assert page.count("&lt;script&gt;") > 20
    assert page.count("</svg>") == 3 and page.count("</title>") == page.count("<title>")


def test_what_was_not_judged_is_said() -> None:
    page = render_page(report())
    assert "3 of 400 gold rows have no label." in page and "2 gold rows failed: text_empty." in page


def test_the_same_answers_give_the_same_report() -> None:
    first, second = report().to_json(), report().to_json()
    assert first == second
    figures = json.loads(first)
    assert figures["judged"] == 400 and len(figures["calibration"]) == 15
    assert figures["accuracy"]["low"] < figures["accuracy"]["value"] < figures["accuracy"]["high"]
    surest = [mistake["confidence"] for mistake in figures["mistakes"]]
    assert surest == sorted(surest, reverse=True) and len(surest) == 25
    assert all(mistake["gold"] != [mistake["given"]] for mistake in figures["mistakes"])
