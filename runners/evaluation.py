"""Evaluates a job: its gold rows go through the very pipeline that `classer run` uses, and its answers are judged."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds
from rich.console import Console

from classer_core.classifiers import DEFAULT_THRESHOLD, shown
from classer_core.engine import Engine
from classer_core.errors import JobError, Problem
from classer_core.evaluation import Predictions, Report, Rows, evaluate
from classer_core.records import RESULT_SCHEMA
from pipelines.chunks import free_names
from pipelines.gold import Gold, read_gold
from pipelines.job.model import Job
from pipelines.outputs.files import FileOutput
from runners.adapt import adapted
from runners.certify import certified
from runners.local import run_job

DETECTION_THRESHOLD = 0.5


def evaluate_job(
    job: Job,
    job_file: Path,
    gold_path: str,
    gold_column: str = "label",
    wanted: float = 0.95,
    console: Console | None = None,
    load: Callable[[], Engine] | None = None,
) -> Report:
    """Classifies the gold rows of a job as the job would, and judges the answers.

    Args:
        job: the job, its paths absolute.
        job_file: where it is from; file names in ids are relative to its folder.
        gold_path: rows with their right labels; see `read_gold`.
        gold_column: the column of the right labels.
        wanted: the precision whose threshold is looked for.
        console: where a progress bar goes.
        load: loads the engine, instead of one with the job's models.

    Raises:
        JobError: a wrong job or gold file, or no gold row that got an answer.
        ModelLoadError: the model can't be loaded.
    """
    folder = job_file.resolve().parent
    asked = certified(adapted(job, str(folder)), str(folder))
    job = asked.spelled_out()
    gold = read_gold(job, gold_path, gold_column, str(folder))
    with tempfile.TemporaryDirectory(prefix="classer-evaluate-") as scratch:
        trial, text_column = _trial(asked, job.mode, gold, Path(scratch))
        summary = run_job(trial, folder, console=console, load=load, only=frozenset(gold.labels))
        assert summary is not None  # local runs end
        results = _read_results(Path(trial.output.place), text_column)
        failed_ids: list[Any] = (
            ds.dataset(trial.failures_output.place, format="parquet").to_table(columns=["id"])["id"].to_pylist()
        )
    if not len(results):
        message = f"none of {len(gold.labels):,} rows with a label got an answer: {summary.failures or 'no such ids'}"
        remedy = "Correct them; `classer run` shows failures with their reasons."
        raise JobError([Problem("--gold", shown(gold_path, 200), message, remedy)])
    ids = results["id"].to_pylist()
    # Where gold rows name the fallback label, abstaining is an answer that can be right.
    fallback = not _is_detection(job) and (job.fallback_label or "",) in gold.labels.values()
    answers = _judged(job, results, [gold.labels[id] for id in ids], fallback)
    rows = Rows(
        job=job_file.name,
        gold=gold_path,
        gold_rows=gold.rows,
        without_gold=gold.without,
        unreadable=gold.unreadable,
        unmatched=len(gold.labels.keys() - {*ids, *failed_ids}),
        failed=summary.failures,
        models=sorted(set(results["model"].to_pylist())),
        classifiers=sorted(set(results["classifier"].to_pylist()))[:3],
    )
    texts = [text or "" for text in results["text"].to_pylist()]
    setting = "threshold" if job.mode == "multi" else "min_confidence"
    abstention = None if _is_detection(job) else job.abstention
    return evaluate(answers, rows, ids, texts, wanted, setting, abstention, fallback)


def _is_detection(job: Job) -> bool:
    """One label, there or not: `min_confidence` is the line between."""
    return job.mode != "multi" and job.labels is not None and len(job.labels) == 1


def _trial(job: Job, mode: str | None, gold: Gold, scratch: Path) -> tuple[Job, str | None]:
    """The job as it is run for judging, with every answer before thresholds, and the result column of its text."""
    trial = job.model_copy(
        update={
            "source": gold.source or job.source,
            # The columns of a gold file are all mapped; its right labels are none of them.
            "record_fields": [] if gold.source else job.record_fields,
            "output": FileOutput(path=str(scratch / "results")),
            "failures": None,
            "passthrough": False,
            "max_failure_ratio": 1.0,
            "max_unreadable_files": sys.maxsize,
            "max_rows": None,
            "max_tokens": None,
            "max_cost": None,
            "min_confidence": None,
            "fallback_label": None,
            "scores": None,
            "threshold": 0.0 if mode == "multi" else job.threshold,
        }
    )
    text = trial.source.find_columns(trial.selection).fields.get("text")
    if text is None:
        return trial, None
    [column] = free_names([text], RESULT_SCHEMA.names)
    return trial.model_copy(update={"passthrough": [text]}), column


def _read_results(path: Path, text_column: str | None) -> Any:
    """Result rows in the order of their ids, which no run changes; the text as a column `text`."""
    columns: dict[str, Any] = {
        name: ds.field(name) for name in ("id", "label", "labels", "confidence", "model", "classifier")
    }
    columns["text"] = ds.field(text_column) if text_column else ds.scalar(None)  # type: ignore[arg-type]  # the stubs lack null
    return (
        ds.dataset(path, format="parquet")
        .to_table(columns=columns)
        .sort_by([("id", "ascending"), ("confidence", "ascending")])
    )


def _judged(job: Job, results: Any, gold: Sequence[tuple[str, ...]], fallback: bool) -> Predictions:
    several = results["labels"].is_valid().to_pylist()
    if set(several) != {job.mode == "multi"}:
        remedy = "Evaluate one mode at a time: give rows without a `mode` of their own."
        raise JobError([Problem("--gold", "", "has rows with another mode than the job", remedy)])
    rows, confidence = np.arange(len(gold)), results["confidence"]
    if job.mode == "multi":
        pairs = pc.list_flatten(results["labels"])
        names, confidence = pc.struct_field(pairs, "label"), pc.struct_field(pairs, "confidence")
        threshold = DEFAULT_THRESHOLD if job.threshold is None else job.threshold
        return _multi(job, gold, rows.repeat(pc.list_value_length(results["labels"])), names, confidence, threshold)
    if _is_detection(job):
        threshold = DETECTION_THRESHOLD if job.min_confidence is None else job.min_confidence
        return _multi(job, gold, rows, results["label"], confidence, threshold)
    answered, right, sure = results["label"].to_pylist(), [labels[0] for labels in gold], confidence.to_numpy()
    final: list[Any] | None = None
    if fallback:
        limit = job.abstention.min_confidence
        final = [label if at >= limit else job.fallback_label for label, at in zip(answered, sure, strict=True)]
    return Predictions.single(_labels(job, [*right, *answered]), right, answered, sure, final)


def _multi(
    job: Job, gold: Sequence[tuple[str, ...]], row: Any, names: Any, confidence: Any, threshold: float
) -> Predictions:
    coded = names.combine_chunks().dictionary_encode()
    found = coded.dictionary.to_pylist()
    labels = _labels(job, [*found, *(label for right in gold for label in right)])
    place = np.array([labels.index(label) for label in found], np.int64)
    label = place[coded.indices.to_numpy()]
    return Predictions.multi(labels, gold, row.astype(np.int64), label, confidence.to_numpy(), threshold)


def _labels(job: Job, seen: Sequence[str]) -> list[str]:
    """The job's labels in their order, then others that occur: a record's own, or the fallback."""
    own = job.labels or []
    return [*own, *sorted(set(seen) - set(own))]
