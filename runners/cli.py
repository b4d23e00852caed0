"""The command line. Heavy libraries are imported by the commands that need them: help and check answer at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml
from rich.table import Column, Table

from classer_core import __version__
from classer_core.errors import JobError, Problem
from runners.commands import cache, certify, classifiers, compare, evaluate, plan, report, review, shares, tune
from runners.console import JobFile, Overrides, drop_noise, out, plain
from runners.exits import exit_codes
from runners.serve.command import serve

if TYPE_CHECKING:
    from pipelines.job import Job

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(classifiers.app, name="classifiers", no_args_is_help=True)
app.command()(plan.plan)
app.command()(report.report)
app.command()(shares.shares)
app.command()(review.review)
app.command()(compare.compare)
app.command()(evaluate.evaluate)
app.command()(tune.tune)
app.command()(certify.certify)
app.command()(cache.cache)
app.command()(serve)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Bulk classification on Apache Beam."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": False})
def run(
    context: typer.Context,
    job_file: JobFile,
    overrides: Overrides = None,
    runner: Annotated[
        str, typer.Option(help="local, flink, dataflow, prism, spark, or the name of a Beam runner.")
    ] = "local",
    preview: Annotated[int, typer.Option(metavar="N", help="Shows the first N result rows at the end.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Builds the runner's graph, shows it, runs nothing.")
    ] = False,
    summary_path: Annotated[
        str | None, typer.Option("--summary", metavar="FILE", help="Writes what the run did, as JSON: a path or URL.")
    ] = None,
    report_path: Annotated[
        str | None, typer.Option("--report", metavar="FILE", help="Writes the page of `classer report`: a path or URL.")
    ] = None,
) -> None:
    """Runs a job. Beam's own pipeline options go after `--`.

    Exit codes: 0 all rows written (failures are rows too), 2 a wrong job, 3 more failures than max_failure_ratio,
    5 another run of the job is going, 6 more unreadable files than max_unreadable_files, 7 an alarm of the job,
    1 anything else. After 1, 3, 5 and 6 the last output is as it was.
    """
    from pipelines.job import load_job
    from runners.running import finish
    from runners.summary import reported

    drop_noise()
    folder = job_file.resolve().parent

    def load() -> Job:
        _refuse_strays(context.args)
        return load_job(job_file, overrides or [])

    with reported(summary_path, str(job_file.resolve())) as told:
        if dry_run:
            _show_graph(load, folder, runner, context.args)
        else:
            told.summary = finish(load, folder, runner, context.args, preview, report_path)


def _show_graph(load: Callable[[], Job], folder: Path, runner: str, beam_args: list[str]) -> None:
    from runners.dry_run import dry_run

    with exit_codes():
        graph = dry_run(load(), folder, runner, beam_args)
    print(*graph.steps, *(f"worker image: {image}" for image in graph.images), sep="\n")


@app.command()
def check(job_file: JobFile, overrides: Overrides = None) -> None:
    """Checks everything of a job that can be known before it runs, and lists every problem found.

    Some rows of files on this machine are parsed, and it says what share of them would fail, and why. Files elsewhere
    are looked at when the job starts.
    """
    from pipelines.job import load_job

    with exit_codes():
        job = load_job(job_file, overrides or [])
        look = _first_look(job, job_file.resolve().parent)
    if look:
        out.print(look, style="yellow", markup=False, highlight=False, soft_wrap=True)
    else:
        out.print(f"{job_file}: OK", markup=False, highlight=False)


@app.command()
def classify(
    labels: Annotated[str, typer.Option(help="Labels, separated by commas.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Texts; without any, lines of standard input.")] = None,
    descriptions: Annotated[Path | None, typer.Option(help="YAML or JSON file: label -> description.")] = None,
    text_type: Annotated[str | None, typer.Option(help='What the texts are, as in "app review".')] = None,
    multi: Annotated[bool, typer.Option("--multi", help="Every label above the threshold.")] = False,
    threshold: Annotated[float, typer.Option(help="For --multi.")] = 0.5,
    min_confidence: Annotated[float | None, typer.Option(help="Below it: no label, abstained.")] = None,
    fallback_label: Annotated[str | None, typer.Option(help="The label of those, instead of none.")] = None,
    model: Annotated[str, typer.Option(help="embedded, KIND:ID, or an ID; docs/models.md.")] = "embedded",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Classifies texts, without a job file and without Beam."""
    from classer_core import Result, classify_batch

    given = texts or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    with exit_codes():
        response = classify_batch(
            given,
            [label.strip() for label in labels.split(",")],
            descriptions=_mapping(descriptions) if descriptions else None,
            text_type=text_type,
            mode="multi" if multi else "single",
            threshold=threshold,
            min_confidence=min_confidence,
            fallback_label=fallback_label,
            model=model,
        )
    if as_json:
        for result in response.results:
            print(json.dumps(asdict(result), default=str, ensure_ascii=False))
        return
    table = Table(Column("text", no_wrap=True, max_width=48), "label", "confidence", "tokens", box=None, pad_edge=False)
    for text, result in zip(given, response.results, strict=True):
        shown = plain(" ".join(text.split()))
        if isinstance(result, Result):
            chosen = [item.label for item in result.labels] if result.labels is not None else [result.label or ""]
            confidence = "" if result.confidence is None else f"{result.confidence:.4f}"
            table.add_row(shown, plain(", ".join(chosen)), confidence, str(result.tokens))
        else:
            table.add_row(shown, plain(f"({result.code}: {result.message})"), "", "")
    out.print(table)


def _first_look(job: Job, folder: Path) -> str:
    """Return what fails of a sample of a job's rows, if anything; empty where its source is not on this machine."""
    from classer_core.filesystems import is_url

    source = job.source
    if source.is_stream or source.own_files or not source.patterns or any(map(is_url, source.patterns)):
        return ""
    from pipelines.sample import first_look

    look = first_look(source, source.find_columns(job.selection), job.requests, str(folder))
    return str(look) if look.failures else ""


def _refuse_strays(beam_args: list[str]) -> None:
    """Beam takes a second job file, or a forgotten `--set`, for nothing."""
    if beam_args and not beam_args[0].startswith("-"):
        remedy = "Give one job file a run; Beam's own options go after `--`, as --name=value."
        raise JobError([Problem("run", repr(beam_args[0]), "is neither a job file nor an option", remedy)])


def _mapping(path: Path) -> dict[str, str]:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{path} can't be read: {error}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{path} is not a mapping of label to description")
    return value


if __name__ == "__main__":
    app()
