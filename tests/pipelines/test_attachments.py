"""Jobs over documents and pictures: every record ends once, whatever is attached to it."""

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests import documents as make
from tests.pipelines.test_graph import rows, run


def pdf() -> bytes:
    return make.pdf("a billing matter", "another billing matter, for sales")


def test_a_folder_of_documents_gives_a_row_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    (folder / "good.pdf").write_bytes(pdf())
    (folder / "letter.docx").write_bytes(make.docx("about technical things"))
    (folder / "lies.pdf").write_bytes(make.docx("billing inside"))
    (folder / "empty.pdf").write_bytes(b"")
    (folder / "long.pdf").write_bytes(make.pdf(*["sales"] * 21))
    (folder / "scan.pdf").write_bytes(make.scan("billing"))
    summary = run(tmp_path, {"format": "documents", "path": "in/**"})
    assert (summary.results, summary.failures) == (
        3,
        {"document_empty": 1, "needs_visual_model": 1, "too_many_pages": 1},
    )
    found = {row["id"]: (row["label"], row["evidence"]) for row in rows(tmp_path)}
    assert found == {
        "in/deep/good.pdf": ("billing", "page 1"),
        "in/deep/letter.docx": ("technical", "page 1"),
        "in/deep/lies.pdf": ("billing", "page 1"),
    }
    failed = {row["id"]: (row["stage"], row["code"], row["field"]) for row in rows(tmp_path, "out-failures")}
    assert failed == {
        "in/deep/empty.pdf": ("expand", "document_empty", "file"),
        "in/deep/long.pdf": ("expand", "too_many_pages", "file"),
        "in/deep/scan.pdf": ("classify", "needs_visual_model", None),
    }


def test_long_documents_are_cut_if_the_job_says_so(tmp_path: Path) -> None:
    from tests.fakes import load_truncating

    (tmp_path / "long.pdf").write_bytes(make.pdf(*["sales"] * 25))
    run(tmp_path, {"format": "documents", "path": "*.pdf"}, load=load_truncating)
    [row] = rows(tmp_path)
    assert (row["label"], row["coverage"], row["tokens"]) == ("sales", 0.8, 20)


def test_links_of_a_folder_are_followed_inside_allowed_folders_alone(tmp_path: Path) -> None:
    for name in ("in", "shared", "elsewhere"):
        (tmp_path / name).mkdir()
    for path in ("in/own.pdf", "shared/a.pdf", "elsewhere/secret.pdf"):
        (tmp_path / path).write_bytes(pdf())
    (tmp_path / "in" / "inside.pdf").symlink_to("own.pdf")
    (tmp_path / "in" / "allowed.pdf").symlink_to(tmp_path / "shared" / "a.pdf")
    (tmp_path / "in" / "secret.pdf").symlink_to(tmp_path / "elsewhere" / "secret.pdf")
    (tmp_path / "in" / "system.pdf").symlink_to("/etc/hostname")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "elsewhere")
    run(tmp_path, {"format": "documents", "path": ["in/*.pdf", "in/*/*.pdf"]}, allow_paths=["shared"])
    assert [row["id"] for row in rows(tmp_path)] == ["in/allowed.pdf", "in/inside.pdf", "in/own.pdf"]
    failures = rows(tmp_path, "out-failures")
    assert {row["id"]: row["code"] for row in failures} == dict.fromkeys(
        ["in/folder/secret.pdf", "in/secret.pdf", "in/system.pdf"], "path_not_allowed"
    )


def test_records_carry_documents_in_every_way(tmp_path: Path) -> None:
    """Base64, data URL, allowed path; what is not allowed, or not there, is its record's failure alone."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.pdf").write_bytes(pdf())
    (tmp_path / "secret.pdf").write_bytes(pdf())
    encoded = base64.b64encode(pdf()).decode()
    records: list[dict[str, Any]] = [
        {"id": "base64", "file": encoded},
        {"id": "data", "file": f"data:application/pdf;base64,{encoded}"},
        {"id": "path", "file": "docs/a.pdf"},
        {"id": "with text", "file": "docs/a.pdf", "text": "technical technical technical technical"},
        {"id": "outside", "file": "docs/../secret.pdf"},
        {"id": "absent", "file": "docs/b.pdf"},
        {"id": "loopback", "file": "https://user:hunter2@127.0.0.1/a.pdf?token=hunter2"},
        {"id": "plain", "file": "http://example.com/a.pdf"},
        {"id": "broken", "file": "data:application/pdf;base64,@@@"},
        {"id": "number", "file": 7},
        {"id": "many", "image": ["x"] * 21},
        {"id": "nothing"},
        {"id": "text", "text": "sales"},
    ]
    (tmp_path / "in.ndjson").write_text("".join(json.dumps(record) + "\n" for record in records))
    source = {"format": "ndjson", "path": "in.ndjson"}
    summary = run(tmp_path, source, allow_paths=["docs"], record_fields=["file", "image"])
    assert {row["_rescued_data"] for row in rows(tmp_path)} == {None}
    assert {row["id"]: row["label"] for row in rows(tmp_path)} == {
        "base64": "billing",
        "data": "billing",
        "path": "billing",
        "with text": "technical",
        "text": "sales",
    }
    failures = rows(tmp_path, "out-failures")
    assert {row["id"]: (row["stage"], row["code"], row["field"]) for row in failures} == {
        "outside": ("fetch", "path_not_allowed", "file"),
        "absent": ("fetch", "content_not_found", "file"),
        "loopback": ("fetch", "url_invalid", "file"),
        "plain": ("fetch", "scheme_not_allowed", "file"),
        "broken": ("fetch", "base64_invalid", "file"),
        "number": ("read", "file_invalid", "file"),
        "many": ("read", "too_many_images", "image"),
        "nothing": ("read", "text_missing", "text"),
    }
    assert summary.records == len(records)
    assert "hunter2" not in str(failures)


def test_parquet_carries_bytes_and_passes_them_through(tmp_path: Path) -> None:
    table = pa.table({"key": [1, 2], "scan": [pdf(), b"junk"], "note": ["kept", "kept too"]})
    pq.write_table(table, tmp_path / "in.parquet")
    run(
        tmp_path,
        {"format": "parquet", "path": "in.parquet", "columns": {"id": "key", "file": "scan"}},
        passthrough=["note"],
    )
    [row] = rows(tmp_path)
    assert (row["id"], row["label"], row["note"]) == ("1", "billing", "kept")
    [failure] = rows(tmp_path, "out-failures")
    assert (failure["id"], failure["code"]) == ("2", "document_unsupported")
    assert json.loads(failure["record"])["note"] == "kept too"
