"""The command line as its users meet it, by its exit codes and what it prints.

In a process of its own where that makes a difference; a process takes four seconds to import what a run needs.
"""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from classer_core.cache.sqlite import connect
from runners.cli import app

BIN = Path(sys.executable).parent / "classer"
ROOT = Path(__file__).parents[2]

JOB = """
source: {format: ndjson, path: tickets.ndjson, columns: {id: n, text: body}}
labels: [invoices, cooking, football]
output: {path: out}
"""


def classer(*args: str, cwd: Path = ROOT, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN, *args], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=300, check=False)


def here(*args: str, stdin: str = "") -> Result:
    """The same in this process."""
    return CliRunner().invoke(app, args, input=stdin)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.yaml").write_text(JOB)
    rows = [{"n": 1, "body": "my invoice is wrong"}, {"n": 2, "body": ""}, {"n": 3, "body": "we fried onions"}]
    (tmp_path / "tickets.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_run_writes_rows_and_sums_up(folder: Path) -> None:
    done = classer("run", str(folder / "job.yaml"), "--preview", "5")
    assert done.returncode == 0, done.stderr
    assert done.stderr == (  # no progress bar without a terminal, no warnings of libraries
        "1 of 3 sampled rows (33.3%) would fail:\n  text_empty 1: 2: text is empty or only white space, got ''\n"
    )
    rows = pq.read_table(folder / "out").to_pylist()
    assert sorted((row["id"], row["label"]) for row in rows) == [("1", "invoices"), ("3", "cooking")]
    [failure] = pq.read_table(folder / "out-failures").to_pylist()
    assert (failure["id"], failure["code"]) == ("2", "text_empty")
    assert "failed: text_empty" in done.stdout
    assert "my invoice is wrong" in done.stdout
    assert str(folder / "out-failures") in done.stdout


def test_too_many_failures_exit_3_and_publish_nothing_unless_asked(folder: Path) -> None:
    done = here("run", str(folder / "job.yaml"), "--set", "max_failure_ratio=0.1")
    assert done.exit_code == 3
    assert "1 of 3 records failed (33.3%), max_failure_ratio is 10.0%" in " ".join(done.stderr.split())
    assert not list((folder / "out").glob("part-*"))
    done = here("run", str(folder / "job.yaml"), "--set", "max_failure_ratio=0.1", "--set", "publish_anyway=true")
    assert done.exit_code == 3
    assert pq.read_table(folder / "out").num_rows == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--set", "model=/no/such/model"], "model '/no/such/model' can't be loaded"),
        (["--set", "output.path=job.yaml/rows"], "has a file where a folder is expected"),
        (["--set", "source.columns.text=nope"], "source.columns.text = nope: is not a column of the source"),
        (["--runner", "NoSuchRunner"], "--runner = 'NoSuchRunner': Unexpected pipeline runner"),
        (["--set", "labels=[a, a]"], "Labels must be unique"),
    ],
)
def test_a_wrong_job_exits_2(folder: Path, args: list[str], message: str) -> None:
    done = here("run", str(folder / "job.yaml"), *args)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert not (folder / "out").exists()


@pytest.mark.integration
def test_anything_else_exits_1(folder: Path) -> None:
    """No more than 600 bytes fit into a file: a disk that is full at the end."""
    limited = ["prlimit", "--fsize=600", BIN, "run", str(folder / "job.yaml")]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert not (folder / "out" / "_SUCCESS").exists()
    assert not (folder / "out" / "_running").exists()


def test_check_lists_every_problem(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("sorce: {}\nlabels: []\nthreshold: 2\noutput: {format: xls, path: out}\n")
    done = classer("check", "job.yaml", cwd=tmp_path)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert any("sorce" in line and "Did you mean 'source'?" in line for line in lines)
    assert any("threshold = 2" in line and "less than or equal to 1" in line for line in lines)


def test_check_of_a_good_job() -> None:
    done = classer("check", "configs/demo.yaml")
    assert done.returncode == 0
    assert done.stdout == (
        "2 of 210 sampled rows (1.0%) would fail:\n"
        "  row_malformed 1: data/tickets.ndjson@24914: line 151 of data/tickets.ndjson is not JSON: unexpected end of "
        "data: line 1 column 61 (char 60)\n"
        "  text_empty 1: 40071: text is empty or only white space, got '  '\n"
    )


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["evaluate", "--help"]])
def test_help_and_check_load_neither_torch_nor_beam(args: list[str]) -> None:
    assert_light(args, exit_code=0)


def test_a_wrong_job_is_told_before_beam_is_loaded(folder: Path) -> None:
    said = assert_light(["run", str(folder / "job.yaml"), "--set", "labels=[a, a]"], exit_code=2)
    assert "Labels must be unique" in said


def assert_light(args: list[str], exit_code: int) -> str:
    """A command in a process of its own ends so, without having loaded what takes seconds; what it says of errors."""
    code = (
        "import sys; from runners.cli import app\n"
        f"sys.argv[1:] = {args!r}\n"
        "try: app()\n"
        f"except SystemExit as exit: assert (exit.code or 0) == {exit_code}, exit.code\n"
        "heavy = {'torch', 'transformers', 'apache_beam'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_evaluate_writes_what_it_shows(folder: Path) -> None:
    rows = [{"body": "we fried onions", "label": "cooking"}, {"body": "a football match", "label": "cooking"}]
    gold = folder / "gold.ndjson"
    gold.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = ["--json", str(folder / "new/report.json"), "--html", str(folder / "new/report.html")]
    done = here("evaluate", str(folder / "job.yaml"), "--gold", str(gold), *files)
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    figures = json.loads((folder / "new/report.json").read_text())
    assert (figures["judged"], figures["accuracy"]["value"]) == (2, 0.5)
    assert "Accuracy" in done.stdout and "0.500" in done.stdout
    assert "a football match" in done.stdout  # the mistake
    assert "a football match" in (folder / "new/report.html").read_text()
    gold.write_text('{"body": "x", "label": "cookin"}\n')
    wrong = here("evaluate", str(folder / "job.yaml"), "--gold", str(gold))
    assert wrong.exit_code == 2
    assert "gold.ndjson@0: label = 'cookin'" in wrong.stderr and "Did you mean 'cooking'?" in wrong.stderr


def test_classify_needs_no_job_file(tmp_path: Path) -> None:
    (tmp_path / "what.yaml").write_text("x: sports and matches\ny: food and cooking\n")
    args = ["classify", "--labels", "x, y", "--descriptions", str(tmp_path / "what.yaml"), "--json"]
    done = here(*args, stdin="a football match\n\nonion soup\n \n")
    assert done.exit_code == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["label"] for answer in answers] == ["x", "y"]
    assert {"label", "confidence", "tokens", "visual_tokens", "latency_ms", "cached"} <= answers[0].keys()


def test_classify_shows_a_table_and_refuses_wrong_labels() -> None:
    done = here("classify", "--labels", "sports,food", "--multi", "--threshold", "0.2", "football [b]match")
    assert done.exit_code == 0
    assert "football [b]match" in done.stdout and "sports" in done.stdout
    wrong = here("classify", "--labels", "a,a", "x")
    assert (wrong.exit_code, "Labels must be unique" in wrong.stderr) == (2, True)


def test_a_cache_with_an_impossible_time_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "answers.sqlite"
    connect(file).execute("INSERT INTO answers (key, stored_at, answer) VALUES ('k', 'yesterday', 'x')")
    answer = here("cache", str(file))
    assert answer.exit_code == 1 and "Delete it" in answer.output, answer.output
