"""Training sets: texts whose labels have names, other names that mean the same, and descriptions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
MAX_CHARS = 600


@dataclass(frozen=True)
class TrainingSet:
    """A list for each label: its texts, what it may be called (its own name first), and how it is described."""

    name: str
    texts: list[list[str]]
    names: list[list[str]]
    descriptions: list[list[str]]
    text_types: list[str] = field(default_factory=lambda: ["text"])
    weight: float = 1.0


def training_sets(corpus: Path) -> tuple[list[TrainingSet], dict[str, int]]:
    """The corpus' folder in; all sets, and how many rows of each were dropped because a test has the same text."""
    kept_for_tests = _test_texts(corpus)
    sets, dropped = [], {}
    recipe = yaml.safe_load((HERE / "recipe.yaml").read_text())
    for name, options in recipe.items():
        rows = list(_rows(corpus, name, options))
        clean = [row for row in rows if _folded(row["text"]) not in kept_for_tests]
        dropped[name] = len(rows) - len(clean)
        sets.append(_training_set(name, options, clean))
    return sets, dropped


def _rows(corpus: Path, name: str, options: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Rows of a set; `merge` gives several labels one name and leaves the others out."""
    merged = {old: new for new, olds in options.get("merge", {}).items() for old in olds}
    for row in _source_rows(corpus, options.get("source", name)):
        if not merged:
            yield row
        elif row["label"] in merged:
            yield {"text": row["text"], "label": merged[row["label"]]}


def _source_rows(corpus: Path, source: str) -> Iterator[dict[str, str]]:
    own = HERE / "sets" / f"{source}.yaml"
    if own.exists():
        for label, texts in yaml.safe_load(own.read_text()).items():
            yield from ({"text": text, "label": label} for text in texts)
    else:
        own = HERE / "sets" / f"{source}.jsonl"
        yield from _json_lines(own if own.exists() else corpus / "train_pool" / f"{source}.jsonl")


def _training_set(name: str, options: dict[str, Any], rows: Sequence[dict[str, str]]) -> TrainingSet:
    labels = sorted({row["label"] for row in rows})
    texts: dict[str, list[str]] = {label: [] for label in labels}
    described: dict[str, set[str]] = {label: set() for label in labels}
    for row in rows:
        texts[row["label"]].append(row["text"][:MAX_CHARS])
        described[row["label"]].update([row["description"]] if "description" in row else [])
    also, descriptions = options.get("also", {}), options.get("descriptions", {})
    if unknown := (set(also) | set(descriptions)) - set(labels):
        raise ValueError(f"{HERE / 'recipe.yaml'}: {name} has no labels {sorted(unknown)}, only {labels}")
    return TrainingSet(
        name=name,
        texts=list(texts.values()),
        names=[[label, *also.get(label, [])] for label in labels],
        descriptions=[[*sorted(described[label]), *descriptions.get(label, [])] for label in labels],
        text_types=options.get("text_types", ["text"]),
        weight=options.get("weight", 1.0),
    )


def _test_texts(corpus: Path) -> set[str]:
    texts: set[str] = set()
    for path in sorted((corpus / "text").glob("*/test.jsonl")):
        texts.update(_folded(row["text"]) for row in _json_lines(path))
    return texts


def _json_lines(path: Path) -> Iterator[dict[str, str]]:
    with path.open() as lines:
        yield from map(json.loads, lines)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
