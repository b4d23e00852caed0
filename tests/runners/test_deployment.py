"""What is deployed is checked as deeply as it can be without a cloud: schemas, job keys, the image's words."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from classer_core import JobError
from pipelines.job import Job
from pipelines.outputs.files import FileOutput
from pipelines.sources.documents import DocumentSource
from pipelines.sources.files import FileSource
from runners.dataflow.template import job_file, job_key, parameters, read_arguments, read_job

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "runners" / "flink" / "kubernetes"
VALUES = {
    "job": "gs://bucket/job.yaml",
    "source_path": "gs://bucket/in/*.parquet",
    "output_path": "gs://bucket/out",
    "failures": "gs://bucket/failed",
    "labels": "[a, b]",
    "text_type": "review",
    "threshold": "0.25",
    "model": "embedded",
    "max_failure_ratio": "0.1",
    "summary": "gs://bucket/run.json",
}
JOB = "source: {format: ndjson, path: gs://bucket/x.ndjson}\nlabels: [x, y]\noutput: {path: gs://bucket/rows}\n"


@pytest.mark.parametrize("path", sorted(KUBERNETES.glob("*.yaml")), ids=lambda path: path.name)
def test_manifests_are_valid_kubernetes(path: Path) -> None:
    """The operator's own kind has no schema in a package; its pod template is a whole Pod but for Flink's image."""
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] == "FlinkDeployment":
            assert document["apiVersion"] == "flink.apache.org/v1beta1"
            assert document["spec"].keys() <= OPERATOR_KEYS
            assert all(isinstance(value, str) for value in document["spec"]["flinkConfiguration"].values())
            document = document["spec"]["taskManager"]["podTemplate"]
        kubernetes_validate.validate(document, "1.31", strict=True)


OPERATOR_KEYS = {"image", "flinkVersion", "serviceAccount", "flinkConfiguration", "jobManager", "taskManager"}


def test_the_pool_starts_our_worker_without_root() -> None:
    deployment = yaml.safe_load((KUBERNETES / "cluster.yaml").read_text())
    containers = deployment["spec"]["taskManager"]["podTemplate"]["spec"]["containers"]
    assert containers[0] == {"name": "flink-main-container"}  # the operator fills this one
    pool = containers[1]
    assert pool["securityContext"]["runAsNonRoot"] is True
    assert "--container_executable=/opt/classer/bin/classer-worker" in pool["args"]
    assert "USER 10001" in (ROOT / "runners" / "dataflow" / "Dockerfile").read_text()


def allowed(key: str) -> Any:
    section, _, name = key.rpartition(".")
    model = {"source": FileSource, "output": FileOutput}.get(section, Job)
    return model.model_json_schema()["properties"][name]


@pytest.mark.parametrize("parameter", parameters(), ids=lambda parameter: parameter["name"])
def test_every_template_parameter_is_a_key_of_the_job(parameter: dict[str, Any]) -> None:
    assert {"name", "label", "helpText", "isOptional", "paramType"} <= parameter.keys()
    if parameter["name"] not in ("job", "summary"):
        schema = allowed(job_key(parameter["name"]))
        choices = [choice for part in schema.get("anyOf", [schema]) for choice in part.get("enum", [])]
        if parameter["name"] == "source_format":
            choices.append(DocumentSource.model_json_schema()["properties"]["format"]["const"])
        assert [option["value"] for option in parameter.get("enumOptions", [])] == choices
    if parameter["paramType"] != "ENUM":
        for regex in parameter.get("regexes", []):
            assert re.fullmatch(regex, VALUES[parameter["name"]])


def test_paths_of_a_template_start_at_its_job_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere, where that is a file of this machine."""
    (tmp_path / "in.ndjson").write_text('{"text": "x"}\n')
    (tmp_path / "job.yaml").write_text("source: {format: ndjson, path: in.ndjson}\noutput: {path: out}\nlabels: [a]\n")
    monkeypatch.chdir(tmp_path)
    for job in ("job.yaml", str(tmp_path / "job.yaml")):
        assert read_job(read_arguments([f"--job={job}"])[0]).output.path == str(tmp_path / "out")
    assert job_file("gs://bucket/jobs/job.yaml") == Path("/job.yaml")


def test_template_parameters_make_a_checked_job(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    others = {name: value for name, value in VALUES.items() if name != "job"}
    arguments = [
        f"--job={tmp_path / 'job.yaml'}",
        "--mode=multi",
        *(f"--{name}={value}" for name, value in others.items()),
    ]
    given, beam_args = read_arguments([*arguments, "--project=p", "--labels=airflow-version=v3"])
    job = read_job(given)
    assert (job.source.path, job.output.path) == (("gs://bucket/in/*.parquet",), "gs://bucket/out")
    assert (job.labels, job.mode, job.threshold, job.max_failure_ratio) == (["a", "b"], "multi", 0.25, 0.1)
    assert given.summary == "gs://bucket/run.json"
    assert beam_args == ["--project=p", "--labels=airflow-version=v3"]
    with pytest.raises(JobError, match="threshold = 7"):
        read_job(read_arguments([f"--job={tmp_path / 'job.yaml'}", "--threshold=7"])[0])
    with pytest.raises(JobError, match="is not there"):
        read_job(read_arguments([f"--job={tmp_path / 'none.yaml'}"])[0])


def test_the_image_is_pinned_by_the_lock() -> None:
    """Every package that the image installs has one version, and the SDK's files are of the same Beam."""
    lock = (ROOT / "requirements.lock").read_text()
    names = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert all("==" in line for line in names)
    [beam_version] = re.findall(r"^apache-beam(?:\[\w+\])?==(\S+)", lock, re.MULTILINE)
    assert f"beam_python3.11_sdk:{beam_version}" in (ROOT / "runners" / "dataflow" / "Dockerfile").read_text()
    assert re.search(r"^torch==\d", lock, re.MULTILINE)
