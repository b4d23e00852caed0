"""`classer classifiers`: saved classifiers, made from a file's labels, listed, shown and compared as text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.table import Table

from classer_core.classifiers import Classifier, shown
from classer_core.requests import CLASSIFIER_FIELDS
from classer_core.saved import ClassifierStore
from classer_core.storage_errors import as_problem
from runners.console import out
from runners.exits import exit_codes

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
    with _stopping(folder):
        print(ClassifierStore(folder).save(name, _classifier_in(file)).name)


@app.command("list")
def list_(folder: Folder = "classifiers") -> None:
    """Lists names and versions."""
    table = Table("name", "newest", "versions", box=None, pad_edge=False)
    with _stopping(folder):
        saved = ClassifierStore(folder).list()
    for name, versions in saved.versions.items():
        table.add_row(name, f"v{versions[-1]}", str(len(versions)))
    out.print(table)


@app.command()
def show(name: Name, folder: Folder = "classifiers") -> None:
    """Shows what a version says."""
    store = ClassifierStore(folder)
    with _stopping(folder):
        reference = str(store.list().resolve(name))
        print(f"# {reference}\n{store.text(reference)}", end="")


@app.command()
def diff(first: Name, second: Name, folder: Folder = "classifiers") -> None:
    """Shows what differs between two versions."""
    store = ClassifierStore(folder)
    with _stopping(folder):
        old, new = (str(store.list().resolve(name)) for name in (first, second))
        before, after = (store.text(name).splitlines(keepends=True) for name in (old, new))
    print("".join(difflib.unified_diff(before, after, old, new)), end="")


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


@contextmanager
def _stopping(folder: str) -> Iterator[None]:
    """End the command where there is no such classifier, or no way to its folder."""
    with exit_codes(), as_problem("--in", folder):
        yield
