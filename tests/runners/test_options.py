"""What each runner gets, for what the user has not set."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PortableOptions, StandardOptions
from typer.testing import CliRunner

from classer_core import JobError
from runners import local, options
from runners.cli import app
from runners.options import launch_options


@pytest.mark.parametrize(
    ("args", "threads"),
    [
        ([], 8),
        (["--direct_running_mode=multi_processing", "--direct_num_workers=2"], 4),
        (["--direct_running_mode=multi_processing", "--direct_num_workers=16"], 1),
        (["--direct_running_mode=multi_processing", "--direct_num_workers=0"], 1),
    ],
)
def test_processes_times_threads_stay_within_the_cores(
    monkeypatch: pytest.MonkeyPatch, args: list[str], threads: int
) -> None:
    for module in (local, options):
        monkeypatch.setattr(module, "available_cores", lambda: 8)
    monkeypatch.setattr(local, "load_cached_engine", lambda *given: given[-1])
    assert local.load_share("none", "m", "v", "fail", launch_options("local", args).at_once) == threads


@pytest.fixture
def flink_rest() -> Iterator[str]:
    """The two answers of a JobManager that are asked for: TaskManagers with 2 and 3 slots."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found: Any = {"taskmanagers": [{"slotsNumber": 2}, {"slotsNumber": 3}]}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("localhost", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"localhost:{server.server_port}"
        server.shutdown()


def test_a_cluster_of_flink_on_this_machine_gets_one_worker_a_task_manager(flink_rest: str) -> None:
    launch = launch_options("flink", [f"--flink_master={flink_rest}", "--flink_job_server_jar=x.jar"])
    portable, flink = launch.options.view_as(PortableOptions), launch.options.view_as(FlinkRunnerOptions)
    assert launch.options.view_as(StandardOptions).runner == "FlinkRunner"
    assert (flink.parallelism, flink.flink_submit_uber_jar) == (5, True)
    assert portable.environment_type == "PROCESS"
    assert Path(json.loads(portable.environment_config)["command"]).name == "classer-worker"
    assert launch.at_once == 3  # the slots of a TaskManager share its cores


def test_what_the_user_sets_is_kept(flink_rest: str) -> None:
    args = [f"--flink_master={flink_rest}", "--flink_job_server_jar=x.jar", "--parallelism=1"]
    args += ["--environment_type=EXTERNAL", "--environment_config=pool:1"]
    portable = launch_options("flink", args).options.view_as(PortableOptions)
    assert (portable.environment_type, portable.environment_config) == ("EXTERNAL", "pool:1")
    assert launch_options("flink", args).options.view_as(FlinkRunnerOptions).parallelism == 1


@pytest.mark.parametrize(
    ("runner", "args", "message"),
    [
        ("flink", ["--flink_master=localhost:1"], "no Flink answers"),
        ("prism", [], "there is no prism in PATH"),
        ("dataflow", [], "the extra `gcp`"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runner: str, args: list[str], message: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("GOPATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(JobError, match=message):
        launch_options(runner, args)


@pytest.mark.parametrize(
    ("runner", "args", "message"),
    [
        ("dataflow", ["--project=p"], "Invalid Project ID (p)"),
        ("dataflow", ["--num_workers=many"], "--num_workers: invalid int value: 'many'"),
        (
            "local",
            ["--direct_num_worker=2"],
            "--direct_num_worker: is not an option of Beam. Did you mean --direct_num_workers?",
        ),
        ("local", ["--direct_num_workers=two"], "--direct_num_workers: invalid int value: 'two'"),
        ("local", ["--direct_running_mode=fast"], "invalid choice: 'fast'"),
        ("local", ["--streaming=maybe"], "--streaming: ignored explicit argument"),
        ("local", ["--worker_machine_type"], "--worker_machine_type/--machine_type: expected one argument"),
        ("local", ["--nothing=1"], "--nothing: is not an option of Beam"),
        ("local", ["-x"], "Beam's options = '-x': is not an option"),
        ("local", ["--experiments=a", "--=s3cret"], "Beam's options = '--=…': is not an option"),
        ("local", ["--experiments=a", "job2.yaml"], "Beam's options = 'job2.yaml': is not an option"),
        ("flink", ["--parallelism=two"], "--parallelism: invalid int value: 'two'"),
        ("spark", ["-x"], "is not an option"),
        ("SparkleRunner", [], "--runner = 'SparkleRunner': Unexpected pipeline runner"),
    ],
)
@pytest.mark.parametrize("command", [(), ("--dry-run",)])
def test_wrong_options_are_a_wrong_job(
    tmp_path: Path, runner: str, args: list[str], message: str, command: tuple[str, ...]
) -> None:
    if runner == "dataflow":
        pytest.importorskip("apitools")
    (tmp_path / "a.ndjson").write_text('{"text": "x"}\n')
    job = tmp_path / "job.yaml"
    job.write_text("source: {format: ndjson, path: a.ndjson}\nlabels: [a, b]\noutput: {path: out}\n")
    done = CliRunner().invoke(app, ["run", str(job), *command, "--runner", runner, "--", *args])
    assert done.exit_code == 2, repr(done.exception)
    shown = " ".join(done.output.split())
    assert message in shown and "s3cret" not in shown and "usage:" not in shown
    assert not (tmp_path / "out").exists()


def test_a_value_may_follow_its_option() -> None:
    options = launch_options("local", ["--direct_num_workers", "3", "--experiments", "a", "--experiments=b"]).options
    given = options.get_all_options(drop_default=True)
    assert (given["direct_num_workers"], given["experiments"]) == (3, ["a", "b"])
