"""`classer suggest`: labels for a job that has none yet, from its own texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from classer_core.errors import JobError, Problem
from runners.console import JobFile, Overrides, drop_noise, err
from runners.exits import exit_codes

app = typer.Typer(help="Suggestions from a job's own texts.")
# A job needs some before it can be checked.
UNKNOWN = ["labels=[unknown]", "classifier=null", "descriptions=null", "examples=null", "adapt=false"]


@app.callback()
def main() -> None:
    """Suggestions from a job's own texts."""


@app.command()
def labels(
    job_file: JobFile,
    count: Annotated[int | None, typer.Option(min=2, max=200, metavar="N", help="Number of labels.")] = None,
    sample: Annotated[int, typer.Option(min=50, metavar="N", help="Texts of the source to look at.")] = 2_000,
    overrides: Overrides = None,
) -> None:
    """Suggests labels, with words, shares and example texts, as YAML to begin a job with. Read and rename them."""
    from pipelines.job import load_job

    drop_noise()
    with exit_codes():
        job = load_job(job_file, [*(overrides or []), *UNKNOWN])
        with err.status("looking at the texts"):
            found = _suggested(job, job_file.resolve().parent, count, sample)
    print(f"# From {sample:,} texts at most: names are words of the texts. Read the examples, and rename the labels.")
    print(yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=110), end="")


def _suggested(job: Any, folder: Path, count: int | None, sample: int) -> dict[str, Any]:
    from classer_core.suggesting import suggest_labels
    from runners.adapt import classifier_and_texts, embedding_model

    _, texts = classifier_and_texts(job, str(folder), sample)
    try:
        vectors = embedding_model(job).embed(texts)
        suggestions = suggest_labels(texts, vectors, count)
    except ValueError as error:
        raise JobError([Problem("source", "", str(error), "Give more texts.")]) from error
    return {
        "labels": [item.label for item in suggestions],
        "descriptions": {item.label: ", ".join(item.words) for item in suggestions if item.words},
        "found": {item.label: {"share": round(item.share, 3), "examples": item.examples} for item in suggestions},
    }
