"""The examples of configs/schedules, as far as they can be tried without a cloud and without a night."""

import ast
import configparser
import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runners.cli import app
from runners.dataflow.template import parameters
from runners.exits import EXIT_ALARM, EXIT_ANOTHER_RUN, EXIT_TOO_MANY_FAILURES, EXIT_WRONG_JOB
from runners.summary import Report

SCHEDULES = Path(__file__).parents[2] / "configs" / "schedules"
CLASSER = "/opt/classer/bin/classer"


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("exit_code", "mailed"), [(0, ""), (5, ""), (1, "down\n"), (2, "down\n"), (3, "down\n")])
def test_cron_mails_what_somebody_should_know(tmp_path: Path, exit_code: int, mailed: str) -> None:
    """The line itself, in a shell; its program ends as a run would."""
    lines = (SCHEDULES / "classer.cron").read_text().splitlines()
    [line] = [line for line in lines if re.match(r"[\d*]", line)]
    *times, user, command = line.split(maxsplit=6)
    assert (times, user) == ([*"02***"], "classer")
    assert "%" not in command  # cron would end the line there
    ended = program(tmp_path / "classer", f'echo "$@" > {tmp_path}/asked; echo down >&2; exit {exit_code}')
    for name, there in ((CLASSER, ended), ("/var/log/classer", tmp_path)):
        assert name in command
        command = command.replace(name, str(there))
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (mailed, "")
    asked = (tmp_path / "asked").read_text().split()
    assert asked == ["run", "/etc/classer/tickets.yaml", "--summary", "/var/lib/classer/tickets.json"]


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(SCHEDULES / name)
    return parser


def test_systemd_knows_our_exit_codes() -> None:
    service = unit("classer@.service")["Service"]
    assert service["SuccessExitStatus"] == str(EXIT_ANOTHER_RUN)
    kept = [EXIT_WRONG_JOB, EXIT_TOO_MANY_FAILURES, EXIT_ALARM]
    assert service["RestartPreventExitStatus"].split() == [str(code) for code in kept]
    asked = service["ExecStart"].split()
    assert asked == [CLASSER, "run", "/etc/classer/%i.yaml", "--summary", "/var/lib/classer/%i.json"]
    assert asked[-1] in unit("classer-alert@.service")["Service"]["ExecStart"]
    assert unit("classer@.service")["Unit"]["OnFailure"] == "classer-alert@%i.service"


def test_the_server_is_started_with_options_it_has() -> None:
    service = unit("classer-serve.service")["Service"]
    command, name, *options = service["ExecStart"].split()
    assert (command, name, service["RestartPreventExitStatus"]) == (CLASSER, "serve", str(EXIT_WRONG_JOB))
    said = CliRunner().invoke(app, ["serve", "--help"], terminal_width=200).output
    assert all(option in said for option in options if option.startswith("--"))


@pytest.mark.integration
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    ended = program(tmp_path / "classer", "exit 0")
    for path in [*SCHEDULES.glob("*.service"), *SCHEDULES.glob("*.timer")]:
        (tmp_path / path.name).write_text(path.read_text().replace(CLASSER, str(ended)))
    names = ["classer@tickets.service", "classer@tickets.timer", "classer-alert@tickets.service"]
    for name in names:
        shutil.copy(tmp_path / re.sub("@.*[.]", "@.", name), tmp_path / name)
    names.append("classer-serve.service")
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    calendar = unit("classer@.timer")["Timer"]["OnCalendar"]
    assert subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, check=False).returncode == 0


def test_the_dag_asks_the_template_for_what_it_knows() -> None:
    """Airflow itself is 300 packages: the DAG was run in it by hand, with its operator, to exit codes 0, 2 and 5."""
    tree = ast.parse((SCHEDULES / "airflow_dag.py").read_text())
    [call] = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "BeamRunPythonPipelineOperator"
    ]
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    assert ast.literal_eval(given["py_options"]) == ["-m"]
    assert importlib.util.find_spec(ast.literal_eval(given["py_file"])) is not None
    assert isinstance(given["pipeline_options"], ast.Dict)
    names = {ast.literal_eval(key) for key in given["pipeline_options"].keys if key is not None}
    assert names == {"job", "summary"} <= {parameter["name"] for parameter in parameters()}
    summary = json.loads(Report("job.yaml").to_json())
    [decide] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "decide"]
    read = {
        ast.literal_eval(node.slice)
        for node in ast.walk(decide)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "run"
        and isinstance(node.slice, ast.Constant)
    }
    [kept] = [node for node in ast.walk(decide) if isinstance(node, ast.comprehension) and node.target.id == "key"]  # type: ignore[attr-defined]
    assert {"exit_code", "problems"} <= read | {*ast.literal_eval(kept.iter)} <= summary.keys()


def launch() -> dict[str, Any]:
    body: dict[str, Any] = json.loads((SCHEDULES / "dataflow-launch.json").read_text())
    return body


def test_the_launch_gives_the_template_what_it_takes() -> None:
    taken = {parameter["name"]: parameter for parameter in parameters()}
    given = launch()["launchParameter"]["parameters"]
    assert {name for name, parameter in taken.items() if not parameter["isOptional"]} <= given.keys() <= taken.keys()
    for name, value in given.items():
        assert all(re.fullmatch(regex, value) for regex in taken[name].get("regexes", []))


@pytest.mark.integration
def test_the_launch_is_one_of_dataflows_messages() -> None:
    """Keys that Dataflow does not know are errors."""
    from google.cloud.dataflow_v1beta3 import LaunchFlexTemplateRequest

    message = LaunchFlexTemplateRequest.from_json(json.dumps(launch()), ignore_unknown_fields=False)
    assert message.launch_parameter.job_name == "classer-tickets"
    assert message.launch_parameter.environment.sdk_container_image.endswith("/classer/worker:1")


@pytest.mark.parametrize("when", ["now", "schedule"])
def test_the_launch_is_sent(tmp_path: Path, when: str) -> None:
    """The script itself, with programs in its PATH that write down what they are asked for."""
    asked = tmp_path / "asked"
    for name in ("gcloud", "curl"):
        program(tmp_path / name, f'[ "$1" = auth ] && echo token || printf "%s\\n" {name} "$@" > {asked}')
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PROJECT": "p", "REGION": "r"}
    command = [str(SCHEDULES / "dataflow.sh"), *(["schedule"] if when == "schedule" else [])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    words = asked.read_text().splitlines()
    body = str(SCHEDULES / "dataflow-launch.json")
    assert "https://dataflow.googleapis.com/v1b3/projects/p/locations/r/flexTemplates:launch" in words
    if when == "now":
        assert words[0] == "curl" and f"@{body}" in words and "Authorization: Bearer token" in words
    else:
        assert words[:5] == ["gcloud", "scheduler", "jobs", "create", "http"] and body in words
    nothing = subprocess.run(command, env={"PATH": environment["PATH"]}, capture_output=True, text=True, check=False)
    assert nothing.returncode != 0 and "PROJECT" in nothing.stderr
