"""Beam's own pipeline options as users give them: what is wrong with them is a problem of the job, with exit code 2."""

from __future__ import annotations

import contextlib
import difflib
import io
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from classer_core.environment import is_secret_name
from classer_core.errors import JobError, Problem
from runners.given import Given

FORM = "Beam's options are given as --name=value, after `--`."
VALIDATION = "Pipeline has validations errors: "


def given_options(beam_args: Sequence[str], strict: bool) -> Given:
    """Return option -> value, of what the user has set.

    Args:
        beam_args: what the user has given.
        strict: whether options that Beam's Python SDK does not know are wrong. Job servers in Java have more.

    Raises:
        JobError: an option has a wrong value or form, or is not known.
    """
    problems = [_stray(arg) for arg, before in zip(beam_args, ["", *beam_args], strict=False) if _is_stray(arg, before)]
    if problems:
        raise JobError(problems)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            given = PipelineOptions(list(beam_args)).get_all_options(drop_default=True, retain_unknown_options=True)
    except SystemExit:  # argparse ends the process, after a page of all options
        message = said.getvalue().strip().rpartition("error: ")[2].removeprefix("argument ")
        place, _, reason = message.partition(": ")
        raise JobError([Problem(place, "", reason.rstrip(".") or "is wrong", "Correct the value.")]) from None
    if strict:
        known = PipelineOptions([]).get_all_options()
        if problems := [_unknown(name, known) for name in given if name not in known]:
            raise JobError(problems)
    return given


def new_pipeline(runner: str, options: PipelineOptions) -> beam.Pipeline:
    """Return a pipeline without steps.

    Raises:
        JobError: Beam does not know the runner, or the runner refuses the options.
    """
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:
        message = str(error).strip()
        if not message.startswith(VALIDATION):
            remedy = "Without --runner a job runs here."
            raise JobError([Problem("--runner", repr(runner), message.rstrip("."), remedy)]) from error
        lines = [line.strip().rstrip(".") for line in message.removeprefix(VALIDATION).splitlines()]
        raise JobError([Problem(f"--runner {runner}", "", line, FORM) for line in lines if line]) from error


def _is_stray(arg: str, before: str) -> bool:
    """Return whether an argument is neither an option nor the value of the one before it."""
    if arg.startswith("--"):
        return not arg.partition("=")[0].strip("-")
    return not (before.startswith("--") and "=" not in before)


def _stray(arg: str) -> Problem:
    name, _, value = arg.partition("=")
    return Problem("Beam's options", repr(name) if not value else repr(f"{name}=…"), "is not an option", FORM)


def _unknown(name: str, known: Given) -> Problem:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    remedy = f"Did you mean --{close[0]}?" if close and not is_secret_name(name) else FORM
    return Problem(f"--{name}", "", "is not an option of Beam", remedy)
