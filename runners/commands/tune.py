"""`classer tune`: a saved classifier that has learned from a job's own texts, and from labelled rows if it has any."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from classer_core.errors import JobError, Problem
from classer_core.saved import ClassifierStore, Reference
from classer_core.storage_errors import as_problem
from runners.console import JobFile, Overrides, drop_noise, err, out
from runners.exits import EXIT_NOT_BETTER, exit_codes

if TYPE_CHECKING:
    from classer_core.distilling import Distilled
    from classer_core.learning import Lesson
    from classer_core.models import Model
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
    teacher: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A larger model that labels texts, as `model:` in a job; gold then judges."),
    ] = None,
    teacher_rows: Annotated[int, typer.Option(min=24, metavar="N", help="Texts that the teacher labels.")] = 1_000,
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
        if teacher is not None:
            with err.status("learning from the teacher"):
                distilled = _distilled(job, job_file, gold, gold_column, sample, teacher, teacher_rows)
            lesson = distilled.lesson
            _show_distilled(distilled)
        else:
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


def _distilled(
    job: Job, job_file: Path, gold: str | None, gold_column: str, sample: int, teacher: str, n_rows: int
) -> Distilled:
    from classer_core.distilling import distill
    from runners.adapt import classifier_and_texts, embedding_model
    from runners.labelled import labelled_texts

    folder = str(job_file.resolve().parent)
    rows = labelled_texts(job, folder, gold, gold_column)
    classifier, texts = classifier_and_texts(job, folder, sample)
    model = embedding_model(job)
    return distill(model, teacher_model(teacher), classifier, texts, n_rows, rows)


def teacher_model(teacher: str) -> Model:
    """Return the model that `--teacher` names, an id or a mapping as in a job.

    Raises:
        JobError: it is not a model.
        ModelLoadError: it can't be loaded.
    """
    import yaml
    from pydantic import ValidationError

    from classer_core.models.loading import load_model
    from classer_core.models.spec import ModelSpec

    try:
        spec = ModelSpec.model_validate(yaml.safe_load(teacher) if teacher.lstrip().startswith("{") else teacher)
    except (yaml.YAMLError, ValidationError) as error:
        # pydantic repeats the value, which may hold a key.
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "is not YAML"
        remedy = (
            "Write it as `model:` of a job, as in --teacher entailment:ID or --teacher '{id: ..., api_key: env:KEY}'."
        )
        raise JobError([Problem("--teacher", "", reason.removeprefix("Value error, "), remedy)]) from None
    return load_model(spec)


def _show_distilled(distilled: Distilled) -> None:
    lesson = distilled.lesson
    assert lesson.classifier.learned is not None
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("texts", f"{lesson.classifier.learned.texts:,}, {distilled.rows:,} of them labelled by the teacher")
    table.add_row(
        "agrees with the teacher on", f"{lesson.accuracy_before:.1%} before, {lesson.accuracy_after:.1%} after"
    )
    if (right := distilled.on_gold) is not None:
        own = f"{right.before:.1%} before, {right.after:.1%} after, teacher {right.teacher:.1%}"
        table.add_row("right on gold rows", f"{own} ({right.rows:,} rows)")
        table.add_row("keeps of the teacher's accuracy", f"{right.after / max(right.teacher, 1e-9):.0%}")
    table.add_row("answers that change", f"{lesson.changed:.1%}")
    for name, price in (("own model", distilled.own), ("teacher", distilled.teacher)):
        hours, millions = price.seconds * 1e6 / 3600, price.tokens
        table.add_row(f"a million rows, {name}", f"{hours:,.1f} hours of this machine, {millions:,.0f} million tokens")
    out.print(table)


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
