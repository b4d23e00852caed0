"""Airflow: a job every night, by the Beam provider's operator; its summary decides what becomes of the run.

Needs Airflow 3 with apache-airflow-providers-apache-beam, and classer-pipelines in a virtual environment beside it. For
Dataflow: runner="DataflowRunner", with project, region, temp_location and sdk_container_image among the options.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

PYTHON = "/opt/classer/bin/python"
JOB = "/etc/classer/tickets.yaml"
SUMMARY = "/var/lib/classer/tickets.{{ dag_run.run_after | ts_nodash }}.json"


@task(trigger_rule="all_done")
def decide(path: str) -> dict[str, object]:
    """What downstream tasks get of the run; fails, or skips them, as its exit code says."""
    run = json.loads(Path(path).read_text(encoding="utf-8"))  # of a URL: airflow.sdk.ObjectStoragePath(path)
    said = "; ".join(problem["message"] for problem in run["problems"])
    if run["exit_code"] == 5:
        raise AirflowSkipException(said)
    if run["exit_code"] != 0:
        raise AirflowFailException(f"exit code {run['exit_code']}: {said}")
    return {key: run[key] for key in ("run", "output", "records", "failures", "tokens", "classifiers")}


@dag(
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
)
def classer_tickets() -> None:
    """Classifies the tickets that are new since the last night."""
    classify = BeamRunPythonPipelineOperator(
        task_id="classify",
        runner="DirectRunner",
        py_interpreter=PYTHON,
        py_options=["-m"],
        py_file="runners.dataflow.template",
        pipeline_options={"job": JOB, "summary": SUMMARY},
    )
    classify >> decide(SUMMARY)


classer_tickets()
