"""`classer tune`: a saved classifier that has learned from a job's own texts, and from labelled rows if it has any."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from classer_core.saved import ClassifierStore, Reference
from classer_core.storage_errors import as_problem
from runners.console import JobFile, Overrides, drop_noise, err, out
from runners.exits import EXIT_NOT_BETTER, exit_codes

if TYPE_CHECKING:
    from classer_core.learning import Lesson
    from pipelines.job import Job


def tune(
    job_file: JobFile,
    save: Annotated[str, typer.Option(metavar="NAME", help="What the classifier is saved as, in the job's folder.")],
    gold: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="CSV, NDJSON or Parquet: records with labels, or ids with labels."),
    ] = None,
    gold_column: Annotated[str, typer.Option(metavar="NAME", help="The column of the right labels.")] = "label",
    sample: Annotated[int, typer.Option(min=50, metavar="N", help="Texts of the source to learn from.")] = 10_000,
    overrides: Overrides = None,
) -> None:
    """Learns from a job's own texts, without labels or with some, and saves what it learned as a classifier version.

    Exit code 4: nothing was saved, because what was learned would make answers worse.
    """
    from pipelines.job import load_job

    drop_noise()
    with exit_codes():
        job = load_job(job_file, overrides or [])
        Reference.parse(save)
        with err.status("learning"):
            lesson = _lesson(job, job_file, gold, gold_column, sample)
        _show(lesson)
        if lesson.objection is not None:
            err.print(f"not saved: {lesson.objection}", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(EXIT_NOT_BETTER)
        with as_problem("classifiers", job.classifiers):
            saved = ClassifierStore(job.classifiers).save(save, lesson.classifier)
    out.print(f"saved {saved.name}: a job uses it with `classifier: {saved.name}` instead of `labels:`", markup=False)


def _lesson(job: Job, job_file: Path, gold: str | None, gold_column: str, sample: int) -> Lesson:
    from runners.adapt import embedding_model, lesson_of
    from runners.labelled import labelled_texts

    folder = str(job_file.resolve().parent)
    rows = labelled_texts(job, folder, gold, gold_column)
    return lesson_of(job, folder, embedding_model(job), sample, rows)


def _show(lesson: Lesson) -> None:
    learned = lesson.classifier.learned
    assert learned is not None
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("texts", f"{learned.texts:,}")
    table.add_row("labelled rows", f"{learned.gold:,}")
    table.add_row("expected accuracy", f"{lesson.accuracy_before:.1%} before, {lesson.accuracy_after:.1%} after")
    table.add_row("answers that change", f"{lesson.changed:.1%}")
    table.add_row("halves of the texts agree on", f"{lesson.stability:.1%}")
    out.print(table)
