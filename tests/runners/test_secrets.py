"""Secrets are in the environment alone: not in graphs, logs, summaries, failure rows or what a job prints."""

import base64
import binascii
import bz2
import json
import logging
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from classer_core import JobError
from classer_core.environment import holds_password, is_secret_name
from pipelines import transforms
from pipelines.job import load_job, parse_job
from runners import local
from runners.cli import app
from runners.dry_run import dry_run
from tests.fakes import load

PASSWORD = "pl4nted-p4ssw0rd"
VARIABLES = {
    "PLANTED_CACHE": f"redis://me:{PASSWORD}@127.0.0.1:1/0",
    "PLANTED_KAFKA": PASSWORD,
    "PLANTED_SERVERS": f"{PASSWORD}.example.com:9092",
}
RUNNERS: dict[str, list[str]] = {
    "local": [],
    "flink": ["--flink_job_server_jar=x.jar"],
    "prism": ["--prism_location=x"],
    "spark": ["--spark_job_server_jar=x.jar"],
    "dataflow": ["--sdk_container_image=x"],
}
OPTIONS = {"security.protocol": "SASL_SSL", "sasl.username": "me", "sasl.password": "env:PLANTED_KAFKA"}
KAFKA = {"format": "kafka", "bootstrap_servers": "env:PLANTED_SERVERS", "topic": "marked", "options": OPTIONS}


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def document(folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "a.ndjson").write_text('{"id": "1", "text": "sales"}\n{"id": "2", "text": ""}\n')
    source = {"format": "ndjson", "path": "a.ndjson"}
    job = {"source": source, "labels": ["billing", "sales"], "output": {"path": "marked"}, "cache": "env:PLANTED_CACHE"}
    return {**job, **more}


def jobs(folder: Path) -> dict[str, dict[str, Any]]:
    """Each kind of source and output that can hold a secret."""
    stream = {"source": {**KAFKA, "topic": "marked-source", "group": "g"}}
    return {
        "files": document(folder),
        "global": document(folder, dedup="global"),
        "stale": document(folder, only="stale"),
        "to topics": document(folder, output=KAFKA, failures=KAFKA | {"topic": "failures"}),
        "stream": document(folder, **stream),
        "stream to topics": document(
            folder, **stream, output=KAFKA | {"topic": "answers"}, failures=KAFKA | {"topic": "failures"}
        ),
    }


def unpacked(data: bytes, depth: int = 5) -> Iterator[bytes]:
    """The bytes, and whatever is compressed or encoded in them: Beam's functions are zlib or bz2 in base64."""
    yield data
    if not depth:
        return
    for found in re.finditer(rb"[A-Za-z0-9+/_-]{40,}={0,2}", data):
        for decode in (base64.b64decode, base64.urlsafe_b64decode):
            try:
                plain = decode(found[0] + b"=" * (-len(found[0]) % 4))
            except binascii.Error:
                continue
            yield from unpacked(plain, depth - 1)
    for start, make in ((b"x\x9c", zlib.decompressobj), (b"x\xda", zlib.decompressobj), (b"BZh", bz2.BZ2Decompressor)):
        for found in re.finditer(re.escape(start), data):
            try:
                plain = make().decompress(data[found.start() :])
            except (zlib.error, OSError):
                continue
            yield from unpacked(plain, depth - 1)


def holds(proto: Any, secret: str) -> bool:
    wanted = secret.encode()
    return any(wanted in part for part in unpacked(proto.SerializeToString()))


@pytest.mark.parametrize("kind", ["files", "global", "stale", "to topics", "stream", "stream to topics"])
@pytest.mark.parametrize("runner", RUNNERS)
def test_no_secret_is_in_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: str, kind: str) -> None:
    monkeypatch.setattr("runners.flink.options.need_java", lambda _: None)
    if runner == "dataflow":
        pytest.importorskip("apitools")
    given = jobs(tmp_path)[kind]
    job = parse_job(given, tmp_path / "job.yaml")
    try:
        graph = dry_run(job, tmp_path, runner, RUNNERS[runner])
    except JobError as error:  # Beam's KafkaIO would have to have it in the graph
        assert runner == "dataflow" and kind.startswith("stream")
        assert "can't be kept out of a job's graph" in str(error) and PASSWORD not in str(error)
        return
    assert holds(graph.pipeline, "marked") and holds(graph.pipeline, "env:PLANTED_CACHE")  # the search finds things
    assert not holds(graph.pipeline, PASSWORD)
    assert PASSWORD not in "\n".join(graph.steps + graph.images) + repr(job)


def test_the_search_finds_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.job.loading.secret_problems", lambda *_: [])
    job = parse_job(document(tmp_path, cache=VARIABLES["PLANTED_CACHE"]), tmp_path / "job.yaml")
    assert holds(dry_run(job, tmp_path, "local").pipeline, PASSWORD)


IN_PLAIN: list[tuple[dict[str, Any], str]] = [
    ({"cache": f"redis://:{PASSWORD}@host/0"}, "cache = 'redis://host/0': holds a password"),
    ({"cache": f"rediss://me:{PASSWORD}@host/0?ttl_days=2"}, "cache = 'rediss://host/0?…': holds a password"),
    ({"cache": f"unix://me:{PASSWORD}@/tmp/redis"}, "holds a password"),
    ({"output": {**KAFKA, "options": {"sasl.password": PASSWORD}}}, "output.options.sasl.password = …: is a secret"),
    ({"output": {**KAFKA, "options": {"ssl.key.pem": PASSWORD}}}, "output.options.ssl.key.pem = …: is a secret"),
    ({"output": {**KAFKA, "options": {"sasl.password": [PASSWORD]}}}, "output.options.sasl.password.str = …"),
    ({"output": {**KAFKA, "options": f"sasl.password={PASSWORD}"}}, "output.options = …"),
    ({"output": {**KAFKA, "sasl.password": PASSWORD}}, "output.sasl.password = …: is an unknown key"),
    ({"output": {**KAFKA, "settings": {"sasl.password": PASSWORD}}}, "output.settings"),
    ({"output": {"path": f"s3://me:{PASSWORD}@bucket/out"}}, "output.path = 's3://bucket/out': holds a password"),
    ({"failures": f"s3://me:{PASSWORD}@bucket/out"}, "failures.path = 's3://bucket/out': holds a password"),
    ({"source": {"format": "ndjson", "path": [f"s3://me:{PASSWORD}@b/*"]}}, "source.path = 's3://b/*': holds a"),
    ({"classifiers": f"s3://me:{PASSWORD}@bucket/out"}, "classifiers = 's3://bucket/out': holds a password"),
    ({"allow_paths": [f"s3://me:{PASSWORD}@bucket/out"]}, "allow_paths = 's3://bucket/out': holds a password"),
    ({"cach": f"redis://:{PASSWORD}@host/0"}, "cach = 'redis://host/0': is an unknown key"),
    ({"cache": [f"redis://:{PASSWORD}@host/0"]}, "cache"),
    ({"cache": f"postgres://:{PASSWORD}@host/0"}, "cache = 'postgres://host/0': a cache must be"),
    ({"output": {"path": "env:PLANTED_SERVERS"}}, "output.path = env:PLANTED_SERVERS: is not one of the keys"),
]


@pytest.mark.parametrize(("more", "message"), IN_PLAIN)
def test_a_secret_in_the_job_itself_is_refused_and_not_shown(
    tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(document(tmp_path) | {"failures": "f"} | more))
    for command in ("check", "run"):
        done = CliRunner().invoke(app, [command, str(file)])
        shown = " ".join(done.output.split())
        assert done.exit_code == 2 and message in shown, shown
        assert PASSWORD not in shown


@pytest.mark.parametrize(
    "text",
    [
        f'labels: [a, b]\ncache: "redis://:{PASSWORD}@host',
        f"labels: [a, b]\nsource: {{format: kafka, options: {{sasl.password: {PASSWORD}, x: [}}}}",
        f"- {PASSWORD}\n",
        f"sasl.password {PASSWORD}",
    ],
)
def test_a_file_that_is_not_a_job_is_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    done = CliRunner().invoke(app, ["check", str(tmp_path / "job.yaml")])
    assert done.exit_code == 2 and PASSWORD not in done.output, done.output


@pytest.mark.parametrize(
    "override",
    [
        f"output.options.sasl.password:{PASSWORD}",
        f"cache redis://:{PASSWORD}@host",
        f"cache=[redis://:{PASSWORD}@host",
        f"labels.x={PASSWORD}",
        f"cache=redis://:{PASSWORD}@host",
        f"model=2026-99-99-{PASSWORD}: [",
    ],
)
def test_a_secret_in_an_override_is_not_shown(tmp_path: Path, override: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(document(tmp_path)))
    done = CliRunner().invoke(app, ["check", str(file), "--set", override])
    assert done.exit_code == 2 and PASSWORD not in done.output, done.output


def test_a_run_leaves_no_secret_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a cache that is down, of which much is said."""
    given = local.run_job
    monkeypatch.setattr(local, "run_job", lambda *args: given(*args, load=load))
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(document(tmp_path, output={"path": "marked", "format": "ndjson"})))
    with caplog.at_level(logging.DEBUG):
        outputs = [
            CliRunner().invoke(app, ["run", str(file), "--preview", "5", "--summary", str(tmp_path / "run.json")]),
            CliRunner().invoke(app, ["run", str(file), "--dry-run"]),
            CliRunner().invoke(app, ["check", str(file)]),
            CliRunner().invoke(app, ["cache"]),
        ]
    assert [done.exit_code for done in outputs] == [0, 0, 0, 0], [done.output for done in outputs]
    assert json.loads((tmp_path / "run.json").read_text())["cache_errors"] > 0
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"text_empty" in written
    assert "redis://127.0.0.1:1/0" in caplog.text
    assert PASSWORD not in "".join(done.output for done in outputs) + caplog.text
    assert PASSWORD.encode() not in written


def test_a_variable_that_is_not_there_is_a_wrong_job(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(document(tmp_path, cache="env:NOT_THERE")))
    done = CliRunner().invoke(app, ["run", str(file)])
    assert done.exit_code == 2 and "cache = env:NOT_THERE: there is no such variable" in " ".join(done.output.split())
    file.write_text(yaml.safe_dump(document(tmp_path, cache="env:")))
    done = CliRunner().invoke(app, ["check", str(file)])
    assert done.exit_code == 2 and "names no variable" in " ".join(done.output.split())


def test_a_wrong_url_in_a_variable_is_a_wrong_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_CACHE", f"postgres://me:{PASSWORD}@host")
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(document(tmp_path)))
    done = CliRunner().invoke(app, ["run", str(file)])
    assert done.exit_code == 2 and "cache = 'env:PLANTED_CACHE': a cache must be" in " ".join(done.output.split())
    assert PASSWORD not in done.output


def test_a_pipeline_of_ones_own_takes_no_password() -> None:
    with pytest.raises(ValueError, match="cache: holds a password") as raised:
        transforms.ClassifyRecords(["a", "b"], cache=f"redis://:{PASSWORD}@host")
    assert PASSWORD not in str(raised.value)
    transforms.ClassifyRecords(["a", "b"], cache="env:PLANTED_CACHE")


def test_names_of_secrets() -> None:
    secret = ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret", "sasl.jaas.config"]
    secret += ["sasl.oauthbearer.config", "aws_secret_access_key", "token", "account_key_password", "api.key"]
    plain = [
        "ssl.key.location",
        "ssl.ca.pem",
        "sasl.oauthbearer.token.endpoint.url",
        "sasl.username",
        "compression.type",
    ]
    plain += ["sasl.oauthbearer.assertion.private.key.file", "ssl.endpoint.identification.algorithm", "client.id"]
    assert [name for name in secret if not is_secret_name(name)] == []
    assert [name for name in plain if is_secret_name(name)] == []


def test_urls_with_passwords() -> None:
    assert all(map(holds_password, ["redis://:p@h", "ftp://u:p@h/x", "s3://u:p@b", "x://u:p@[::1", "unix://u:p@/s"]))
    assert not any(map(holds_password, ["redis://h:6379/0", "redis://u@h", "s3://b/a:b@c", "a:b@c", "", "x://[::1"]))


def test_the_job_shows_itself_without_its_options(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(document(tmp_path, output=KAFKA, failures={"path": "f"})))
    assert "sasl" not in repr(load_job(file))
