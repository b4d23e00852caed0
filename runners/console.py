"""The common part of all commands: where they print, and their common arguments."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

out = Console()
err = Console(stderr=True)

JobFile = Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job file.", show_default=False)]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Overrides a key of the job.")]


def plain(value: str, style: str = "") -> Text:
    """Return a record's text for printing, so that neither markup nor control codes of the terminal act."""
    return Text("".join(letter if letter.isprintable() else "·" for letter in value), style)


def drop_noise() -> None:
    """Beam warns of Google's libraries, which a job without them does not need.

    Other warnings are printed. Without a handler of our own, the first one would install one that writes to wherever
    standard error is redirected at that moment.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
