"""The wheel holds what runs and nothing else, and runs without the repository."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from classer_core.extras import MODULES

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[1]
MODULES_OF_EXTRAS = [
    *(name for names in MODULES.values() for name in names),
    *(
        "confluent_kafka",
        "gcsfs",
        "s3fs",
        "google.cloud",
        "prometheus_client",
        "python_multipart",
        "starlette",
        "uvicorn",
    ),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    # From what git has: untracked files and earlier builds must not get in.
    source = folder / "source"
    source.mkdir()
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installed alone; what it depends on is that of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel)],
        check=True,
    )
    return folder


def test_the_wheel_holds_what_runs(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"classer_core/calibration.json", "classer_core/models/weights/label_matching.safetensors"} <= names
    assert {f"{package}/py.typed" for package in ("classer_core", "pipelines", "runners")} <= names
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"classer_core", "pipelines", "runners"}
    assert not [name for name in names if "training" in name or "test" in name.rpartition("/")[2]]


def test_a_job_runs_in_a_folder_with_a_pipelines_folder_of_its_own(installed: Path, tmp_path: Path) -> None:
    """Without the libraries of any extra."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").write_text("raise ImportError('this is the user's own package')\n")
    (tmp_path / "in.ndjson").write_text(json.dumps({"id": "1", "text": "I was charged twice"}) + "\n")
    job = "source: {format: ndjson, path: in.ndjson}\nlabels: [billing, technical]\noutput: {path: out}\ncache: none\n"
    (tmp_path / "job.yaml").write_text(job)
    block = "import sys\nsys.modules.update(dict.fromkeys({names!r}))\n"
    (installed / "sitecustomize.py").write_text(block.format(names=MODULES_OF_EXTRAS))
    environment = os.environ | {"PYTHONPATH": str(installed)}
    classer = str(installed / "bin" / "classer")
    subprocess.run([classer, "run", "job.yaml"], cwd=tmp_path, env=environment, check=True)
    [row] = pq.read_table(tmp_path / "out").to_pylist()
    assert (row["id"], row["label"]) == ("1", "billing")
    code = "import classer_core, pipelines, runners; print(classer_core.__file__, pipelines.__file__, runners.__file__)"
    shown = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert shown.count(str(installed)) == 3
