"""`classer classifiers`: saved classifiers, made from a file's labels, listed, shown and compared as text."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import yaml
from rich.table import Table

from classer_core.classifiers import Classifier, shown
from classer_core.errors import RecordError
from classer_core.requests import CLASSIFIER_FIELDS
from classer_core.saved import ClassifierStore
from runners.console import EXIT_WRONG_JOB, err, out

app = typer.Typer(help="Saved classifiers: name@vN, which a job or a record names instead of labels.")

Folder = Annotated[str, typer.Option("--in", metavar="FOLDER", help="Where they are: a path, gs://..., s3://...")]
Name = Annotated[str, typer.Argument(metavar="NAME[@vN]", help="Without a version the newest.", show_default=False)]


@app.command()
def save(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="A job file, or a YAML file with labels and so on.", show_default=False)],
    folder: Folder = "classifiers",
) -> None:
    """Saves the classifier of a file as the next version; one that says the same as the newest is that version."""
    try:
        saved = ClassifierStore(folder).save(name, _classifier_in(file))
    except RecordError as error:
        _stop(error)
    print(saved.name)


@app.command("list")
def list_(folder: Folder = "classifiers") -> None:
    """Lists names and versions."""
    table = Table("name", "newest", "versions", box=None, pad_edge=False)
    for name, versions in ClassifierStore(folder).list().versions.items():
        table.add_row(name, f"v{versions[-1]}", str(len(versions)))
    out.print(table)


@app.command()
def show(name: Name, folder: Folder = "classifiers") -> None:
    """Shows what a version says."""
    store = ClassifierStore(folder)
    try:
        reference = str(store.list().resolve(name))
        print(f"# {reference}\n{store.text(reference)}", end="")
    except RecordError as error:
        _stop(error)


@app.command()
def diff(first: Name, second: Name, folder: Folder = "classifiers") -> None:
    """Shows what differs between two versions."""
    store = ClassifierStore(folder)
    try:
        names = [str(store.list().resolve(name)) for name in (first, second)]
        texts = [store.text(name).splitlines(keepends=True) for name in names]
    except RecordError as error:
        _stop(error)
    print("".join(difflib.unified_diff(*texts, *names)), end="")


def _classifier_in(file: Path) -> Classifier:
    """The classifier that a file's labels, descriptions, ... make.

    Raises:
        RecordError: they make none.
    """
    try:
        document: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{file} can't be read: {error}") from error
    if not isinstance(document, dict):
        raise typer.BadParameter(f"{file} holds no `labels:`, got {shown(document)}")
    fields = {key: document[key] for key in CLASSIFIER_FIELDS if key in document and key != "classifier"}
    return Classifier.of(**{"labels": None, **fields})


def _stop(error: RecordError) -> NoReturn:
    err.print(error.message, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(EXIT_WRONG_JOB) from error
