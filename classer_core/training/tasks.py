"""Training tasks: texts with labels, and what each label may be called and how it is described."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
POOLS = ("train_pool", "train_pool_en", "train_pool_multilingual")
MAX_CHARS = 1_200
MIN_TEXTS_A_LABEL = 3
# More labels than these make a task no more likely to be drawn.
MOST_LABELS_WEIGHED = 64
# A language of a task becomes a task of its own, with labels in that language, from so many texts on.
MIN_TEXTS_A_LANGUAGE = 60


@dataclass(frozen=True)
class Task:
    """Texts by label, and the wording of the labels.

    Attributes:
        name: unique: `pool/task`, or `pool/task/language`.
        texts: a list of texts for each label.
        names: what each label may be called, its own name first; other languages' names among them where known.
        descriptions: of each label; empty where the source has none.
        text_types: what a text of the task may be called.
        weight: how often the task is drawn, beside the others.
    """

    name: str
    texts: list[list[str]]
    names: list[list[str]]
    descriptions: list[list[str]]
    text_types: list[str]
    weight: float


@dataclass(frozen=True)
class Recipe:
    """Which tasks are trained on.

    Attributes:
        kept_out: tasks that only judge the weights.
        related: tasks that share texts or sources with `kept_out`; neither trained on nor judged by.
        factors: by task, how often it is drawn beside what its number of labels says (1).
    """

    kept_out: tuple[str, ...]
    related: tuple[str, ...]
    factors: dict[str, float]

    @classmethod
    def load(cls, path: Path = HERE / "recipe.yaml") -> Recipe:
        """Read the recipe from YAML."""
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
        factors = {name: float(group["factor"]) for group in value["groups"] for name in group["tasks"]}
        return cls(tuple(value["kept_out"]), tuple(value["related"]), factors)


def training_tasks(corpus: Path, recipe: Recipe) -> list[Task]:
    """Return the tasks to train on: those of the corpus' pools that the recipe leaves in.

    A text that occurs in a test set of `corpus/text`, or in a kept-out task, is dropped.
    """
    known = _test_texts(corpus)
    for name in recipe.kept_out:
        known.update(folded(row["text"]) for row in pool_rows(corpus, name))
    tasks: list[Task] = []
    for path, text_type in _pool_files(corpus):
        name = path.stem
        if name in recipe.kept_out or name in recipe.related:
            continue
        rows = [row for row in _json_lines(path) if folded(row["text"]) not in known]
        tasks += _tasks(f"{path.parent.name}/{name}", rows, text_type, recipe.factors.get(name, 1.0))
    return tasks


def pool_rows(corpus: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of one task of the pools.

    Raises:
        FileNotFoundError: no pool has a task of that name.
    """
    for pool in POOLS:
        path = corpus / pool / f"{name}.jsonl"
        if path.exists():
            return list(_json_lines(path))
    raise FileNotFoundError(f"no pool of {corpus} has a task {name!r}")


def text_types(corpus: Path) -> dict[str, str]:
    """Return what a text of each task is, where the pools' READMEs say it ("clause of a commercial contract")."""
    return {path.stem: text_type for path, text_type in _pool_files(corpus) if text_type}


def folded(text: str) -> str:
    """Return the text as it is compared: without case and with single spaces."""
    return " ".join(text.casefold().split())


def _tasks(name: str, rows: list[dict[str, Any]], text_type: str, factor: float) -> Iterator[Task]:
    """Yield the task with English labels and, where labels are translated, one more for each language."""
    yield from _task(name, rows, "label", text_type, factor)
    by_language: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row.get("label_local") and row["label_local"] != row["label"]:
            by_language[row["lang"]].append(row)
    for language, own in sorted(by_language.items()):
        if len(own) >= MIN_TEXTS_A_LANGUAGE:
            # All languages of a task together are drawn as often as the task with English labels.
            yield from _task(f"{name}/{language}", own, "label_local", "", factor / len(by_language))


def _task(name: str, rows: list[dict[str, Any]], key: str, text_type: str, factor: float) -> Iterator[Task]:
    texts: dict[str, list[str]] = defaultdict(list)
    descriptions: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        label = row[key]
        texts[label].append(row["text"][:MAX_CHARS])
        if row.get("description") and key == "label":
            descriptions[label].add(row["description"])
    labels = sorted(label for label, own in texts.items() if len(own) >= MIN_TEXTS_A_LABEL)
    if len(labels) < 2:
        return
    yield Task(
        name=name,
        texts=[texts[label] for label in labels],
        names=[[label] for label in labels],
        descriptions=[sorted(descriptions[label]) for label in labels],
        text_types=[text_type] if text_type else [],
        weight=factor * math.sqrt(min(len(labels), MOST_LABELS_WEIGHED)),
    )


def _pool_files(corpus: Path) -> Iterator[tuple[Path, str]]:
    for pool in POOLS:
        types = _readme_text_types(corpus / pool / "README.md")
        for path in sorted((corpus / pool).glob("*.jsonl")):
            yield path, types.get(path.stem, "")


def _readme_text_types(path: Path) -> dict[str, str]:
    """Return the column "a text is" of a README's table, by the first column; empty where it has no such column."""
    types: dict[str, str] = {}
    column: int | None = None
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if "a text is" in cells:
            column = cells.index("a text is")
        elif column is not None and len(cells) > column and not set(cells[0]) <= {"-", ":"}:
            types[cells[0]] = cells[column]
    return types


def _test_texts(corpus: Path) -> set[str]:
    texts: set[str] = set()
    for path in sorted((corpus / "text").glob("*/test.jsonl")):
        texts.update(folded(row["text"]) for row in _json_lines(path))
    return texts


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
