"""Whole jobs on object stores: real servers, read, written, read again and replaced."""

import gzip
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classer_core.classifiers import Classifier
from classer_core.errors import AnotherRunError, FailureCode
from classer_core.fetching.rules import MAX_BYTES
from classer_core.saved import ClassifierStore
from classer_core.source_file import open_reading
from classer_core.storage import (
    list_folder,
    list_prefix,
    open_writing,
    read_start,
    write_new,
    write_whole,
)
from pipelines.gold import read_gold
from pipelines.job import Job, parse_job
from pipelines.readers import ndjson as ndjson_reader
from pipelines.readers import parquet as parquet_reader
from pipelines.sample import sample_records
from pipelines.writers.lease import RUNNING, Holder, held
from runners.local import run_job
from tests.documents import pdf
from tests.fakes import CountingModel, load, load_counting
from tests.servers.object_stores import reachable
from tests.servers.storage import GcsEmulator, GcsServer, S3Server, StorageServer

pytestmark = [
    pytest.mark.integration,
    # aiohttp advises gcsfs against sending a block at once.
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]
SERVERS = {server.name: server for server in (S3Server, GcsServer, GcsEmulator)}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[StorageServer]:
    with SERVERS[request.param]() as started:
        yield started


@pytest.fixture
def base(server: StorageServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder of the store for one test."""
    with reachable(server, monkeypatch):
        yield f"{server.bucket}/{request.node.originalname}-{abs(hash(request.node.name))}"


# gcp-storage-emulator takes conditional writes for others.
with_conditions = pytest.mark.parametrize(
    "server", [name for name, kind in SERVERS.items() if kind is not GcsEmulator], indirect=True
)


def put(path: str, data: bytes) -> str:
    with open_writing(path) as file:
        file.write(data)
    return path


def ndjson(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows: list[dict[str, Any]], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, **options)
    return sink.getvalue()


def job_of(base: str, source: dict[str, Any], **more: Any) -> Job:
    document = {"source": source, "labels": ["billing", "login"], "output": {"path": f"{base}/out"}, "cache": "none"}
    return parse_job({**document, "classifiers": f"{base}/classifiers", **more}, Path("/nowhere/job.yaml"))


def names(folder: str) -> list[str]:
    return [found.path.rpartition("/")[2] for found in list_folder(folder)]


def rows_of(folder: str) -> list[dict[str, Any]]:
    rows = []
    for path, *_ in list_folder(folder):
        if path.endswith(".parquet"):
            with open_reading(path) as file:
                rows += pq.read_table(file).to_pylist()
        elif path.endswith(".ndjson"):
            with open_reading(path) as file:
                rows += [json.loads(line) for line in file]
    return rows


ROWS = [{"id": str(n), "text": f"billing {n}" if n % 10 else ""} for n in range(100)]
CONTENTS = {
    "ndjson": ("a.ndjson.gz", lambda rows: gzip.compress(ndjson(rows))),
    "csv": ("a.csv", lambda rows: b"id,text\n" + b"".join(f"{row['id']},{row['text']}\n".encode() for row in rows)),
    "parquet": ("a.parquet", table),
}


@pytest.mark.parametrize("format", CONTENTS)
def test_a_job_reads_writes_and_replaces(base: str, format: str) -> None:
    name, content = CONTENTS[format]
    put(f"{base}/in/deep/{name}", content(ROWS[:50]))
    put(f"{base}/in/{name}", content(ROWS[50:]))
    put(f"{base}/in-not/{name}", content(ROWS))
    job = job_of(base, {"format": format, "path": f"{base}/in/**"})
    first = run_job(job, Path("/nowhere"), load=load)
    assert (first.records, first.results, first.failures) == (100, 90, {"text_empty": 10})
    assert names(job.output.path) == ["_SUCCESS", f"part-00000-of-00001-{first.run}.parquet"]
    # What a bundle that was tried again has left, and what is somebody else's.
    put(f"{base}/out/_temporary/killed/abc", b"rows")
    put(f"{base}/out/notes.txt", b"mine")
    put(f"{base}/out-of-this-job/part-00000-of-00001-x.parquet", b"theirs")
    put(f"{base}/in/{name}", content(ROWS[50:60]))
    second = run_job(job, Path("/nowhere"), load=load)
    assert names(job.output.path) == ["_SUCCESS", "notes.txt", f"part-00000-of-00001-{second.run}.parquet"]
    assert names(f"{base}/out-failures") == ["_SUCCESS", f"part-00000-of-00001-{second.run}.parquet"]
    assert read_start(f"{base}/out/_SUCCESS", 100).decode() == second.run
    assert names(f"{base}/out-of-this-job") == ["part-00000-of-00001-x.parquet"]
    assert [found.path for found in list_prefix(f"{base}/out/_")] == [f"{base}/out/_SUCCESS"]
    assert sorted(int(row["id"]) for row in rows_of(job.output.path)) == [n for n in range(60) if n % 10]
    assert sorted(int(row["id"]) for row in rows_of(f"{base}/out-failures")) == [0, 10, 20, 30, 40, 50]


def test_an_output_without_rows_is_there(base: str) -> None:
    """An NDJSON file without rows is an object without bytes."""
    put(f"{base}/a.ndjson", ndjson(ROWS[1:3]))
    job = job_of(base, {"format": "ndjson", "path": f"{base}/a.ndjson"})
    job = job.model_copy(update={"output": job.output.model_copy(update={"format": "ndjson"})})
    run = run_job(job, Path("/nowhere"), load=load).run
    assert names(f"{base}/out-failures") == ["_SUCCESS", f"part-00000-of-00001-{run}.ndjson"]
    assert rows_of(f"{base}/out-failures") == []
    assert {row["label"] for row in rows_of(f"{base}/out")} == {"billing"}


def test_large_parquet_files_are_read_in_parts(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More row groups than one part has, more bytes than one request gets."""
    monkeypatch.setattr(parquet_reader, "PART_BYTES", 2 << 20)
    rows = [{"id": str(n), "text": f"billing {n}", "more": f"{n:040d}" * 20} for n in range(20_000)]
    put(f"{base}/a.parquet", table(rows, row_group_size=1_000, compression="none", use_dictionary=False))
    [found] = list_prefix(f"{base}/a.parquet")
    assert abs(time.time() - found.modified) < 60
    assert found.size > 12 << 20
    job = job_of(base, {"format": "parquet", "path": found.path})
    assert run_job(job, Path("/nowhere"), load=load).results == 20_000
    assert sorted((int(row["id"]), row["more"]) for row in rows_of(f"{base}/out")) == [
        (n, f"{n:040d}" * 20) for n in range(20_000)
    ]


def test_large_ndjson_files_are_read_in_parts(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson_reader, "PART_BYTES", 700_000)
    rows = [{"id": str(n), "text": f"billing {n} " + "x" * (n % 800)} for n in range(6_000)]
    put(f"{base}/a.ndjson", ndjson(rows))
    assert run_job(job_of(base, {"format": "ndjson", "path": f"{base}/a.ndjson"}), Path("/nowhere"), load=load)
    assert sorted((int(row["id"]), row["text"]) for row in rows_of(f"{base}/out")) == [
        (n, rows[n]["text"]) for n in range(6_000)
    ]


def test_documents_are_records_and_attachments(base: str) -> None:
    """Each is one request; what is too large is not read to its end; nothing outside allow_paths is reached."""
    inside = put(f"{base}/docs/a.pdf", pdf(["billing in a document"]))
    put(f"{base}/docs/sub/b.pdf", pdf(["login in a document"]))
    large = put(f"{base}/large.bin", b"x" * (MAX_BYTES + 1))
    job = job_of(base, {"format": "documents", "path": f"{base}/docs/**"}, visual_model="none")
    run_job(job, Path("/nowhere"), load=load)
    assert {row["id"]: row["label"] for row in rows_of(f"{base}/out")} == {
        inside: "billing",
        f"{base}/docs/sub/b.pdf": "login",
    }
    sources = [
        inside,
        f"{base}/docs/none.pdf",
        large,
        f"{base}/docs/../large.bin",
        f"{base}/docs-not/a.pdf",
        f"{inside}::{large}",
        "s3://other/a.pdf",
        "gs://other/a.pdf",
    ]
    put(f"{base}/a.ndjson", ndjson([{"id": str(n), "file": source} for n, source in enumerate(sources)]))
    asked = {"source": {"format": "ndjson", "path": f"{base}/a.ndjson", "columns": {"file": "file"}}}
    job = job_of(base, asked["source"], allow_paths=[f"{base}/docs", f"{base}/large.bin"], visual_model="none")
    run_job(job, Path("/nowhere"), load=load)
    assert [(row["id"], row["label"]) for row in rows_of(f"{base}/out")] == [("0", "billing")]
    codes = {row["id"]: row["code"] for row in rows_of(f"{base}/out-failures")}
    refused = FailureCode.PATH_NOT_ALLOWED
    expected = ["content_not_found", refused, refused, refused, "content_not_found", refused, refused]
    assert codes == dict(zip("1234567", expected, strict=True))


def test_what_is_too_large_is_not_read_to_its_end(base: str) -> None:
    large = put(f"{base}/docs/large.bin", b"x" * (MAX_BYTES + 10))
    assert len(read_start(large, MAX_BYTES + 1)) == MAX_BYTES + 1
    put(f"{base}/a.ndjson", ndjson([{"id": "a", "file": large}]))
    job = job_of(base, {"format": "ndjson", "path": f"{base}/a.ndjson", "columns": {"file": "file"}})
    run_job(job.model_copy(update={"allow_paths": [f"{base}/docs"]}), Path("/nowhere"), load=load)
    assert [row["code"] for row in rows_of(f"{base}/out-failures")] == [FailureCode.CONTENT_TOO_LARGE]


def test_only_what_changed_is_read_again(base: str) -> None:
    put(f"{base}/a.ndjson", ndjson(ROWS[1:6]))
    source = {"format": "ndjson", "path": f"{base}/a.ndjson"}
    run_job(job_of(base, source), Path("/nowhere"), load=load_counting)
    put(f"{base}/a.ndjson", ndjson([*ROWS[3:6], {"id": "new", "text": "login now"}]))
    CountingModel.texts.clear()
    summary = run_job(job_of(base, source, only="stale"), Path("/nowhere"), load=load_counting)
    assert CountingModel.texts == ["login now"]
    assert (summary.results, summary.cached) == (4, 3)


def test_samples_and_gold_rows_are_read(base: str) -> None:
    put(f"{base}/a.ndjson", ndjson(ROWS[1:6]))
    job = job_of(base, {"format": "ndjson", "path": f"{base}/*.ndjson"})
    assert sorted(record.text for record in sample_records(job, "/nowhere", 3)) != []
    put(f"{base}/gold.csv", b"text,label\nmy bill,billing\n")
    gold = read_gold(job, f"{base}/gold.csv", "label", "/nowhere")
    assert list(gold.labels.values()) == [("billing",)]


def test_classifiers_are_saved_listed_and_named_by_records(base: str) -> None:
    store = ClassifierStore(f"{base}/classifiers")
    assert store.list().versions == {}
    store.save("tickets", Classifier.of(["billing", "login"]))
    assert store.save("tickets", Classifier.of(["billing", "login"])).name == "tickets@v1"
    store.save("tickets", Classifier.of(["billing", "login", "other"]))
    assert store.list().versions == {"tickets": (1, 2)}
    put(f"{base}/a.ndjson", ndjson([{"id": "a", "text": "login", "classifier": "tickets@v1"}]))
    source = {"format": "ndjson", "path": f"{base}/a.ndjson"}
    summary = run_job(
        job_of(base, source, labels=None, classifier="tickets", record_fields=["classifier"]),
        Path("/nowhere"),
        load=load,
    )
    assert summary.classifiers == {"tickets@v1": 1}
    assert [row["classifier"] for row in rows_of(f"{base}/out")] == ["tickets@v1"]


@with_conditions
def test_writers_at_once_never_make_the_same_version(base: str) -> None:
    together = Barrier(8)

    def save(number: int) -> str:
        together.wait()
        return ClassifierStore(f"{base}/classifiers").save("same", Classifier.of([f"label {number}"])).name

    with ThreadPoolExecutor(8) as threads:
        saved = list(threads.map(save, range(8)))
    assert sorted(saved) == [f"same@v{n}" for n in range(1, 9)]
    held_labels = [ClassifierStore(f"{base}/classifiers").list().load(name).labels for name in saved]
    assert held_labels == [(f"label {number}",) for number in range(8)]


@with_conditions
def test_one_run_at_a_time(base: str) -> None:
    put(f"{base}/a.ndjson", ndjson(ROWS))
    job = job_of(base, {"format": "ndjson", "path": f"{base}/a.ndjson"})
    elsewhere = replace(Holder.here("theirs"), machine="another machine", host="other")
    write_new(f"{base}/out-failures/{RUNNING}", elsewhere.to_json())
    with pytest.raises(AnotherRunError, match="out-failures' is being written by run theirs, on other"):
        run_job(job, Path("/nowhere"), load=load)
    assert names(f"{base}/out") == []
    write_whole(f"{base}/out-failures/{RUNNING}", replace(elsewhere, alive_at=0.0).to_json())
    assert run_job(job, Path("/nowhere"), load=load).results == 90
    assert names(f"{base}/out-failures")[0] == "_SUCCESS" and len(names(f"{base}/out-failures")) == 2


@with_conditions
def test_of_many_that_take_over_one_succeeds(base: str) -> None:
    dead = replace(Holder.here("dead"), machine="another machine", alive_at=0.0)
    write_new(f"{base}/out/{RUNNING}", dead.to_json())
    together, done = Barrier(8), Barrier(8)

    def take(number: int) -> bool:
        together.wait()
        try:
            with held([f"{base}/out"], f"run{number}"):
                done.wait()
                return True
        except AnotherRunError:
            done.wait()
            return False

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(take, range(8))) == [False] * 7 + [True]
    assert names(f"{base}/out") == []


def test_few_requests_are_made(base: str, server: StorageServer) -> None:
    """Of a small file one for its columns, one for the first look and one for its rows, of a document one.

    Beside these a fixed number for the run: places are tried, and the lease is read again at each step of publishing.
    """
    for number in range(5):
        put(f"{base}/in/{number}.ndjson", ndjson(ROWS[1:5]))
        put(f"{base}/docs/{number}.pdf", pdf([f"billing {number}"]))
    before = len(server.requests())
    run_job(job_of(base, {"format": "ndjson", "path": f"{base}/in/*"}), Path("/nowhere"), load=load)
    made = server.requests()[before:]
    assert len([request for request in made if ".ndjson" in request]) == 5 * 3, made
    assert len(made) <= 5 * 3 + 70, made
    before = len(server.requests())
    run_job(job_of(base, {"format": "documents", "path": f"{base}/docs/*"}), Path("/nowhere"), load=load)
    made = server.requests()[before:]
    assert len([request for request in made if ".pdf" in request]) == 5 + 1, made
