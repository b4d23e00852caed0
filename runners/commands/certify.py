"""`classer certify`: a saved classifier that says from which certainty a cascade's first model is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from classer_core.saved import ClassifierStore, Reference
from classer_core.storage_errors import as_problem
from runners.console import JobFile, Overrides, drop_noise, err, out, plain
from runners.exits import EXIT_NOT_BETTER, exit_codes

if TYPE_CHECKING:
    from classer_core.limits import Limits


def certify(
    job_file: JobFile,
    save: Annotated[str, typer.Option(metavar="NAME", help="What the classifier is saved as, in the job's folder.")],
    gold: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Random rows with right labels; without, the second model is asked."),
    ] = None,
    gold_column: Annotated[str, typer.Option(metavar="NAME", help="The column of the right labels.")] = "label",
    overrides: Overrides = None,
) -> None:
    """Proves from which certainty the first model of a job's cascade is as precise as its `guarantee` says.

    Exit code 4: nothing was saved, because no answers of the first model are proven to be that precise.
    """
    from pipelines.job import load_job

    drop_noise()
    with exit_codes():
        job = load_job(job_file, overrides or [])
        Reference.parse(save)
        from runners.certify import loaded_cascade, proven_classifier, told
        from runners.labelled import labelled_texts

        folder = str(job_file.resolve().parent)
        with err.status("certifying"):
            rows = labelled_texts(job, folder, gold, gold_column)
            proven = proven_classifier(job, folder, loaded_cascade(job), rows)
        assert proven.limits is not None
        out.print(told(proven), markup=False, highlight=False)
        if not proven.limits.from_certainty:
            err.print("not saved", style="red")
            raise typer.Exit(EXIT_NOT_BETTER)
        _show(proven.limits)
        with as_problem("classifiers", job.classifiers):
            saved = ClassifierStore(job.classifiers).save(save, proven)
    out.print(f"saved {saved.name}: a job uses it with `classifier: {saved.name}` instead of `labels:`", markup=False)


def _show(limits: Limits) -> None:
    table = Table("label", Column("trusted from", justify="right"), box=None, pad_edge=False)
    for label, limit in limits.from_certainty:
        table.add_row(plain(label), f"{limit:.3f}")
    out.print(table)
